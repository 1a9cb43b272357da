import pytest

from stage.flags import RENAMED, CommandFlags
from tests.commands import call


@pytest.fixture
def flags():
    return CommandFlags()


def test_each_command_line_starts_from_the_defaults(flags):
    name = flags.strings("name", ["a"], "Names")
    control = flags.boolean("control", False, "Control.")
    assert flags.parse(["command", "--name=b", "--name=c", "--control", "rest"])
    assert (name.value, control.value) == (["b", "c"], True)
    assert flags.parse(["command", "rest"]) == ["command", "rest"]
    assert (name.value, control.value) == (["a"], False)


def test_commands_may_have_flags_of_the_same_name(flags):
    others = CommandFlags()
    seed, other_seed = flags.seed("data"), others.seed("weights", lower_bound=0)
    flags.parse(["command", "--seed=3"])
    others.parse(["command"])
    assert (seed.value, other_seed.value) == (3, 0)


def test_flags_may_follow_arguments_but_not_two_dashes(flags):
    top_k = flags.top_k(5, "Classes.")
    arguments = ["a", "--top_k=7", "b", "--", "--top_k=8", "--runner=x"]
    rest = ["a", "b", "--top_k=8", "--runner=x"]
    assert flags.parse(["command", *arguments])[1:] == rest
    assert top_k.value == 7


@pytest.mark.parametrize("argument", ["--seeds=1", "--seed=x", "--seed=-1", "--dtype"])
def test_bad_flags_end_the_command(flags, argument):
    flags.seed("data", lower_bound=0)
    with pytest.raises(SystemExit) as end:
        flags.parse(["command", argument])
    assert argument[2:].partition("=")[0] in end.value.code


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "0.5", "x"])
def test_numbers_are_finite_and_within_their_bounds(flags, value):
    minutes = flags.number("minutes", 30.0, "Minutes.", lower_bound=1.0)
    flags.parse(["command", "--minutes=2.5"])
    assert minutes.value == 2.5
    with pytest.raises(SystemExit, match="minutes"):
        flags.parse(["command", f"--minutes={value}"])


def test_required_flags_must_be_there(flags):
    flags.output("Directory.")
    flags.members("teacher")
    flags.artifact("selection", required=False)
    for arguments, names in (
        ([], "--output=, --teacher="),
        (["--output=a"], "--teacher="),
        (["--teacher=a"], "--output="),
    ):
        with pytest.raises(SystemExit) as end:
            flags.parse(["command", *arguments])
        line, hint = end.value.code.splitlines()
        assert line == f"error: missing {names}"
        assert "--help" in hint
    assert flags.parse(["command", "--teacher=a", "--output=b"]) == ["command"]


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--seed=x", ("--seed", "integer", "'x'")),
        ("--seed=1.5", ("--seed", "integer", "'1.5'")),
        ("--seed=99999999999999999999", ("--seed", "[0, 4294967295]")),
        ("--share=much", ("--share", "number", "'much'")),
        ("--backend=torch", ("--backend", "jax")),
    ],
)
def test_what_is_expected_of_a_flag_is_said(flags, argument, words):
    flags.seed("data")
    flags.number("share", 0.5, "Share.")
    flags.backend(["tensorflow", "jax"])
    with pytest.raises(SystemExit) as end:
        flags.parse(["command", argument])
    for word in words:
        assert word in end.value.code
    assert "literal" not in end.value.code


def test_the_default_of_a_required_flag_is_not_advised(flags):
    flags.output("Directory.")
    flags.data_dir()
    for name, advised in (("output", False), ("data_dir", True)):
        with pytest.raises(SystemExit) as end:
            flags.parse(["command", "--output=a", f"--{name}="])
        assert ("default" in end.value.code) == advised


@pytest.mark.parametrize("value", ["", " "])
def test_a_blank_value_is_refused(flags, value):
    flags.output("Directory.")
    flags.strings("teacher", [], "Directories.")
    for arguments in ([f"--output={value}"], ["--output=a", f"--teacher={value}"]):
        with pytest.raises(SystemExit) as end:
            flags.parse(["command", *arguments])
        assert arguments[-1].partition("=")[0] in end.value.code
        assert "\n" not in end.value.code


def test_a_renamed_flag_names_the_new_one(flags):
    for former, present in RENAMED.items():
        flags.string(present.partition("=")[0], None, "Text.")
        with pytest.raises(SystemExit) as end:
            flags.parse(["command", f"--{former}=x"])
        assert f"--{former}" in end.value.code
        assert f"--{present}" in end.value.code
        assert "\n" not in end.value.code


def test_a_renamed_flag_is_unknown_to_commands_without_the_new_one(flags):
    for former, present in RENAMED.items():
        with pytest.raises(SystemExit) as end:
            flags.parse(["command", f"--{former}=x"])
        assert f"--{present}" not in end.value.code


def test_labeling_names_the_new_flag_before_any_work(tmp_path):
    process = call(
        "beam_jobs.label_images",
        *(
            "--precision=float32",
            "--images=folder:none",
            f"--output={tmp_path / 'new'}",
        ),
    )
    assert process.returncode == 1
    assert process.stdout == ""
    (line,) = process.stderr.splitlines()
    assert "--precision" in line
    assert "--dtype" in line
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("output", "is_within"),
    [
        ("photos", True),
        ("photos/sub/out", True),
        ("link/out", True),
        ("photos2", False),
        ("photos/../out", False),
    ],
)
def test_the_output_lies_outside_of_what_is_read(flags, tmp_path, output, is_within):
    (tmp_path / "photos").mkdir()
    (tmp_path / "link").symlink_to("photos")
    flags.image_source("Images.")
    flags.artifact("predictions", required=False)
    flags.output("Directory.")
    images = f"--images=folder:{tmp_path}/photos"
    made = f"--output={tmp_path}/{output}"
    predictions = ["--images=tfds:x:test", f"--predictions={tmp_path}/photos"]
    for inputs in ([images], predictions):
        if not is_within:
            flags.parse(["command", *inputs, made])
            continue
        with pytest.raises(SystemExit) as end:
            flags.parse(["command", *inputs, made])
        assert all(argument in end.value.code for argument in (inputs[-1], made))


def test_the_output_may_lie_in_another_bucket(flags):
    flags.image_source("Images.")
    flags.output("Directory.")
    images, output = "--images=folder:gs://bucket/in", "--output=gs://bucket/"
    flags.parse(["command", images, output + "out"])
    with pytest.raises(SystemExit):
        flags.parse(["command", images, output + "in/out"])


def test_some_flags_are_checked_without_the_others():
    command = CommandFlags()
    command.string("images", None, "...", required=True)
    command.integer("steps", 3, "...")
    assert command.check(["--steps=5", "--verbosity=1"])["steps"].value == 5
    assert command.check([])["steps"].value == 3
    for word in ("--stepz=5", "--steps=many"):
        with pytest.raises(ValueError, match="steps"):
            command.check([word])


def test_a_column_is_another_name_of_a_feature(flags):
    group = flags.source()
    flags.parse(["command", "--image_column=jpg", "--label_feature=class"])
    assert group.image_feature.value == "jpg"
    assert group.arguments()["label_feature"] == "class"
    flags.parse(["command", "--label_column=kind"])
    assert (group.image_feature.value, group.label_feature.value) == (None, "kind")


def test_the_output_lies_outside_of_a_plain_path(flags, tmp_path):
    flags.image_source("Images.")
    flags.output("Directory.")
    (tmp_path / "photos").mkdir()
    with pytest.raises(SystemExit):
        flags.parse(
            ["command", f"--images={tmp_path}/photos", f"--output={tmp_path}/photos/x"]
        )
