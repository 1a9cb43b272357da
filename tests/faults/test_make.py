"""Variables of make: whatever they hold, it arrives as it is or is refused."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests import commands
from tests.commands import ROOT
from tests.faults import endings, page
from tests.images import random_images, write_folder

#: In place of Python: writes its arguments, each ended by a null byte, into a file.
#: Settings are compared only if a test is about them. The file `chosen` has what is
#: chosen for a run.
STAND_IN = f"""#!/bin/sh
case "$2:$COMPARES" in
  workflow.choose:*)
    printf '%s\\0' "$@" > asked
    for last; do :; done
    directory=${{last#--output=}}
    mkdir -p "$directory"
    [ -e "$directory/choice.mk" ] || cp chosen "$directory/choice.mk"
    exit ;;
  workflow.settings:yes) PYTHONPATH='{ROOT}' exec '{sys.executable}' "$@" ;;
  workflow.settings:*) exit ;;
esac
for argument; do printf '%s\\0' "$argument"; done > "calls/$(date +%s%N)-$$"
case "$*" in *"$FAILING"*) exit 1 ;; esac
"""
SETTINGS = {
    "LABELED": "folder:labeled",
    "EVALUATION": "folder:test",
    "IMAGES": "folder:all",
    "RUN": "runs/x",
}
LABELED_IMAGES = {SETTINGS["LABELED"], SETTINGS["EVALUATION"], "folder:more"}


class Make:
    """Runs make on the project's rules, with commands that only tell their flags."""

    def __init__(self, root):
        self.root = root
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, root)
        (root / "infra").mkdir()
        for path in (ROOT / "infra").glob("*.mk"):
            shutil.copy(path, root / "infra")
        python = root / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(STAND_IN)
        python.chmod(0o755)
        for name in ("demo", "dev", "onnx", "hub", "pretrained"):
            (root / ".venv" / f"{name}-installed").touch()
        self.choose()

    def choose(self, *, features="", preset="tiny", flags=""):
        """Sets what is chosen next for a run without a choice."""
        variables = {"FEATURES": features, "PRESET": preset, "FLAGS": flags}
        lines = [f"CHOSEN_{name} := {text}\n" for name, text in variables.items()]
        (self.root / "chosen").write_text("".join(lines))

    @property
    def asked(self):
        """The flags of the last command that chose."""
        return (self.root / "asked").read_text().split("\0")[2:-1]

    def __call__(
        self, *targets, failing="nothing", compares="", environment=None, **variables
    ):
        """Returns how it ended, and the arguments of each command, in their order."""
        shutil.rmtree(self.root / "calls", ignore_errors=True)
        (self.root / "calls").mkdir()
        ended = subprocess.run(
            ["make", *targets, *(f"{name}={text}" for name, text in variables.items())],
            cwd=self.root,
            env={
                "PATH": "/usr/bin:/bin",
                "FAILING": failing,
                "COMPARES": compares,
                **(environment or {}),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        paths = sorted((self.root / "calls").iterdir())
        return ended, [path.read_text().split("\0")[:-1] for path in paths]

    def refused(self, fault, *targets, **more):
        """Runs make, which must name the cause in one line, and do nothing."""
        ended, calls = self(*targets, **more)
        assert fault.end == endings.REFUSED
        assert ended.returncode == 2
        assert calls == []
        assert ended.stderr.count("\n") == 1, ended.stderr
        fault.check(ended.stderr)
        assert not (self.root / "runs").exists()
        return ended.stderr


@pytest.fixture
def make(tmp_path):
    return Make(tmp_path)


@page.holds("special characters in a make variable that names a source")
@pytest.mark.parametrize(
    "path",
    [
        *("/my test", "/it's", '/a "b" c', "/a;touch touched", "/a&b|c>d<e"),
        *("/50% # 1", "/~/a~0~1 b", "/a:b=c,d", "/(a) [b] {c} *?!", "/back\\slash"),
        *("/a  b ", "/`touch touched`", "/größe/日本 語", "/-x --y"),
    ],
)
@pytest.mark.parametrize("from_environment", [False, True])
def test_sources_arrive_as_they_are(fault, make, path, from_environment):
    assert fault.end == endings.WORKS
    names = ("LABELED", "EVALUATION", "IMAGES", "CALIBRATION")
    given = {name: f"folder:/{name}{path}" for name in names}
    given |= {"DATA_DIR": f"/data{path}", "CLASS_NAMES": f"/names{path}"}
    targets = ("demo", "ROUNDS=1", "RUN=runs/x")  # Runs make again.
    if from_environment:
        ended, calls = make(*targets, environment=given)
    else:
        ended, calls = make(*targets, **given)
    assert ended.returncode == 0, ended.stderr
    found = {flag.partition("=")[::2] for call in calls for flag in call}
    for flag, name in (
        *(("--labeled", "LABELED"), ("--evaluation", "EVALUATION")),
        *(("--held_out", "CALIBRATION"), ("--data_dir", "DATA_DIR")),
        ("--class_names", "CLASS_NAMES"),
    ):
        assert {value for key, value in found if key == flag} == {given[name]}
    excluded = {given[name] for name in ("LABELED", "EVALUATION", "CALIBRATION")}
    assert {value for key, value in found if key == "--exclude_images"} == excluded
    images = {value for key, value in found if key == "--images"}
    assert images == {*excluded, given["IMAGES"]}
    assert not (make.root / "touched").exists()


def test_lists_are_separated_by_blanks(make):
    ended, calls = make(
        *("samples", "student"),
        **SETTINGS,
        EXCLUDE="folder:/a  tfds:b:test[:10] webdataset:/c~1/*.tar",
        TEACHER_FLAGS="--set=a='b' --init_from=$$x;y",
        STUDENT_FLAGS='--set={"a":1}  --x',
    )
    assert ended.returncode == 2
    ended, calls = make(
        *("samples", "student"),
        **SETTINGS,
        EXCLUDE="folder:/a  tfds:b:test[:10] webdataset:/c~1/*.tar",
        TEACHER_FLAGS="--set=a='b' --init_from=x;y",
        STUDENT_FLAGS='--set={"a":1}  --x',
    )
    assert ended.returncode == 0, ended.stderr
    (sampled,) = (call for call in calls if "workflow.sample_images" in call)
    excluded = [flag for flag in sampled if flag.startswith("--exclude_images=")]
    sources = ["folder:/a", "tfds:b:test[:10]", "webdataset:/c~1/*.tar"]
    assert [flag.partition("=")[2] for flag in excluded] == sources
    teachers = [call for call in calls if "teacher.train" in call]
    for call in teachers:
        assert [f"--exclude={source}" for source in sources] == [
            flag for flag in call if flag.startswith("--exclude=")
        ]
    assert [call[-2:] for call in teachers] == [["--set=a='b'", "--init_from=x;y"]]
    (student,) = (call for call in calls if "student.train" in call)
    assert student[-2:] == ['--set={"a":1}', "--x"]


def test_labels_are_blended_with_those_of_similar_images(make):
    ended, calls = make("student", **SETTINGS)
    assert ended.returncode == 0, ended.stderr
    (blending,) = (call for call in calls if "beam_jobs.propagate_labels" in call)
    directory = "runs/x/round-1"
    assert f"--predictions={directory}/teacher_predictions" in blending
    assert f"--labeled={directory}/labeled_predictions" in blending
    assert f"--output={directory}/predictions" in blending
    labeled = [
        call for call in calls if f"--output={directory}/labeled_predictions" in call
    ]
    assert ["--embeddings" in call for call in labeled] == [True]
    (selecting,) = (call for call in calls if "beam_jobs.select_labels" in call)
    assert "--confidence_threshold=0.51" in selecting
    (teacher,) = (call for call in calls if "teacher.train" in call)
    assert f"--unlabeled={SETTINGS['IMAGES']}" in teacher
    assert "--consistency=auto" in teacher


def test_embeddings_are_stored_where_they_are_compared(make):
    ended, calls = make("selection", **SETTINGS, DUPLICATE_SIMILARITY="0.95")
    assert ended.returncode == 0, ended.stderr
    made = ("beam_jobs.label_images", "beam_jobs.propagate_labels")
    assert all("--embeddings" in call for call in calls if {*made} & {*call})
    (selecting,) = (call for call in calls if "beam_jobs.select_labels" in call)
    assert "--duplicate_similarity=0.95" in selecting


#: Features of the labeled and of the unlabeled images, as flags.
FEATURES = {
    "TEACHER_FLAGS": "--label_feature=y --image_feature=x",
    "LABELING_FLAGS": "--top_k=3 --image_feature=z",
}


def features_of(call, labeled, unlabeled):
    """Returns the features that a command should be given."""
    image = {flag for flag in labeled if flag.startswith("--image")}
    if f"--images={SETTINGS['IMAGES']}" in call:
        excluded = {flag.replace("--", "--excluded_") for flag in image}
        return unlabeled | (excluded if "workflow.sample_images" in call else set())
    if "beam_jobs.label_images" in call and "--embeddings" not in call:
        return image
    if not {flag.partition("=")[2] for flag in call} & LABELED_IMAGES:
        return set()
    if "teacher.train" in call:
        return labeled | {flag.replace("--", "--unlabeled_") for flag in unlabeled}
    return labeled


@pytest.mark.parametrize("names", [set(FEATURES), *({name} for name in FEATURES)])
@pytest.mark.parametrize("more", [{"CALIBRATION": "folder:more"}, {"NEIGHBORS": "10"}])
def test_each_source_is_read_by_its_own_features(make, names, more):
    given = {name: FEATURES[name] for name in names}
    ended, calls = make("report", **SETTINGS, **more, **given)
    assert ended.returncode == 0, ended.stderr
    labeled, unlabeled = (
        {flag for flag in given.get(name, "").split() if "_feature=" in flag}
        for name in FEATURES
    )
    for call in calls:
        found = {flag for flag in call if "_feature=" in flag}
        assert found == features_of(call, labeled, unlabeled), call
        if "beam_jobs.label_images" in call:
            assert ("--top_k=3" in call) == ("LABELING_FLAGS" in names)


def test_labels_of_dataflow_are_blended_there(make):
    (make.root / ".venv" / "gcp-installed").touch()
    cloud = {"RUNNER": "dataflow", "PROJECT": "p", "REGION": "r", "BUCKET": "bin"}
    settings = {**SETTINGS, "IMAGES": "tfrecord:gs://bin/images/*"}
    ended, _ = make("labels", "--dry-run", **settings, **cloud)
    lines = ended.stdout.replace("\\\n", "").splitlines()
    (labeling,) = (
        line
        for line in lines
        if "label_images" in line and "--runner=DataflowRunner" in line
    )
    assert "--embeddings" in labeling
    (blending,) = (line for line in lines if "beam_jobs.propagate_labels" in line)
    assert "--predictions=gs://bin/runs/x/round-1/teacher_predictions" in blending
    assert "--runner=DataflowRunner" in blending


@pytest.mark.parametrize(
    ("given", "flags"),
    [
        ({}, {"--embeddings", "--blended"}),
        ({"NEIGHBORS": "0"}, set()),
        ({"NEIGHBORS": "0", "DUPLICATE_SIMILARITY": "0.9"}, {"--embeddings"}),
    ],
)
def test_an_estimate_knows_whether_labels_are_blended(make, given, flags):
    (make.root / ".venv" / "gcp-installed").touch()
    cloud = {"RUNNER": "dataflow", "PROJECT": "p", "REGION": "r", "BUCKET": "bin"}
    settings = {**SETTINGS, "IMAGES": "tfrecord:gs://bin/images/*", "IMAGE": "x"}
    asked = {"NUM_IMAGES": "1000", "RATE": "20"}
    ended, (call,) = make("estimate", **settings, **cloud, **asked, **given)
    assert ended.returncode == 0, ended.stderr
    assert {"--embeddings", "--blended"} & set(call) == flags


@pytest.mark.parametrize("given", [{"NEIGHBORS": "0"}, {"FOLDS": "3"}])
def test_calibrated_labels_are_the_teachers_own(make, given):
    ended, calls = make("student", **SETTINGS, **given)
    assert ended.returncode == 0, ended.stderr
    assert not [call for call in calls if "beam_jobs.propagate_labels" in call]
    assert not [call for call in calls if "--embeddings" in call]
    (labeling,) = (
        call for call in calls if "--output=runs/x/round-1/predictions" in call
    )
    assert "beam_jobs.label_images" in labeling


#: A source of features whose path has a blank.
PRETRAINED = "onnx:/my models/lite.onnx"


def call_of(calls, module):
    """Returns the only call of a command."""
    (found,) = (call for call in calls if module in call)
    return found


@pytest.mark.parametrize("is_calibrated", [True, False])
def test_a_probe_of_pretrained_features_is_the_first_teacher(make, is_calibrated):
    probe = "runs/x/round-1/teacher/member-1"
    if is_calibrated:  # With one labeled image of each class it is not.
        (make.root / probe / "calibration").mkdir(parents=True)
    ended, calls = make(
        *("report", "calibration"),
        **SETTINGS,
        ROUNDS="2",
        FEATURES=PRETRAINED,
        TEACHER_FLAGS="--image_feature=x",
    )
    assert ended.returncode == 0, ended.stderr
    probing = call_of(calls, "teacher.probe")
    assert f"--features={PRETRAINED}" in probing
    assert f"--labeled={SETTINGS['LABELED']}" in probing
    assert f"--evaluation={SETTINGS['EVALUATION']}" in probing
    assert "--image_feature=x" in probing
    assert f"--workdir={probe}" in probing
    own = f"--calibration={probe}/calibration"
    modules = {call[1] for call in calls}
    assert not modules & {"teacher.train", "teacher.calibrate"}
    assert "beam_jobs.propagate_labels" not in modules
    first, second = (call for call in calls if "beam_jobs.select_labels" in call)
    assert ("--target_precision=0.97" in first) == is_calibrated
    assert ("--confidence_threshold=0.51" in first) != is_calibrated
    assert "--confidence_threshold=0.51" in second
    calibrated = [call[1] for call in calls if own in call]
    expected = ["beam_jobs.label_images", "beam_jobs.select_labels"]
    assert calibrated == (expected if is_calibrated else [])
    (control,) = (call for call in calls if "--control" in call)
    assert f"--compute_of={probe}" in control


def test_held_out_images_calibrate_a_probe_too(make):
    given = {"FEATURES": PRETRAINED, "CALIBRATION": "folder:more"}
    ended, calls = make("selection", **SETTINGS, **given)
    assert ended.returncode == 0, ended.stderr
    calibrating = call_of(calls, "teacher.calibrate")
    assert "--teacher=runs/x/round-1/teacher/member-1" in calibrating
    selecting = call_of(calls, "beam_jobs.select_labels")
    assert "--calibration=runs/x/round-1/calibration" in selecting


@page.holds("FEATURES= with settings of a network")
@pytest.mark.parametrize(
    "given",
    [
        *({"FOLDS": "3"}, {"TEACHERS": "2"}, {"CONSISTENCY": "on"}),
        {"FOLDS": "3", "CALIBRATION": "folder:more"},
    ],
)
def test_a_probe_is_no_network(fault, make, given):
    make.refused(fault, "report", **SETTINGS, FEATURES=PRETRAINED, **given)


@page.holds("make variable with a dollar sign")
@pytest.mark.parametrize(
    "name", [*SETTINGS, "CALIBRATION", "EXCLUDE", "CLASS_NAMES", "DATA_DIR", "SEED"]
)
@pytest.mark.parametrize("text", ["$(shell touch touched)", "$x", "$$x", "${HOME}"])
def test_dollar_signs(fault, make, name, text):
    given = {**SETTINGS, name: f"folder:/{text}"}
    message = make.refused(fault, "teacher", **given)
    assert f"{name}=folder:/{text}" in message
    make.refused(fault, "teacher", environment=given)
    assert not (make.root / "touched").exists()


@page.holds("make variable with a line break")
@pytest.mark.parametrize("text", ["a\nb", "a\tb", "a\n", "\n\ttouch touched"])
def test_several_lines(fault, make, text):
    for name in ("LABELED", "EVALUATION", "IMAGES", "TEACHER_FLAGS", "FEATURES"):
        ended, calls = make("teacher", **{**SETTINGS, name: f"folder:{text}"})
        assert (ended.returncode, calls) == (2, [])
        fault.check(ended.stderr)
    assert not (make.root / "touched").exists()


@page.holds("RUN= with special characters")
@pytest.mark.parametrize(
    "path",
    [
        *("my runs", "it's", 'a"b', "a;b", "a%b", "~/a", "a:b", "a#b", "a=b", "a*"),
        *("", "-x", "a\\b", "a(b)", "a|b", "gs://bucket/a", "a&b", "`a`"),
    ],
)
def test_run_is_a_plain_path(fault, make, path):
    make.refused(fault, "teacher", **{**SETTINGS, "RUN": path})


@page.holds("EXCLUDE= with a path that has blanks")
@pytest.mark.parametrize("text", ["folder:/my test", "/x", "folder:/a,folder:/b c"])
def test_excluded_path_with_blanks(fault, make, text):
    make.refused(fault, "selection", **SETTINGS, EXCLUDE=text)


@page.holds("EXCLUDE= with more than 20 sources")
def test_many_sources_to_exclude(fault, make):
    text = " ".join(f"folder:/{index}" for index in range(21))
    make.refused(fault, "selection", **SETTINGS, EXCLUDE=text)


@page.holds("LABELED= without EVALUATION=")
def test_labeled_without_evaluation(fault, make):
    make.refused(fault, "teacher", LABELED="folder:/a")
    make.refused(fault, "teacher", EVALUATION="folder:/a")


ONLY_LABELED = {name: SETTINGS[name] for name in ("LABELED", "EVALUATION", "RUN")}


@page.holds("make without IMAGES= that needs unlabeled images")
@pytest.mark.parametrize(
    ("target", "given"),
    [
        *((name, {}) for name in ("demo", "labels", "student", "report")),
        *((name, {"ROUND": "2"}) for name in ("teacher", "calibration")),
        ("control", {"IMAGES": ""}),
        ("teacher", {"CONSISTENCY": "on"}),
    ],
)
def test_labeled_images_alone(fault, make, target, given):
    make.refused(fault, target, **ONLY_LABELED, **given)


def test_a_teacher_needs_no_unlabeled_images(make):
    given = {**ONLY_LABELED, "LABELING_FLAGS": "--image_feature=z"}
    ended, calls = make("teacher", "calibration", **given, FOLDS="2")
    assert ended.returncode == 0, ended.stderr
    teachers = [call for call in calls if "teacher.train" in call]
    assert len(teachers) == 2
    names = {flag.partition("=")[0] for call in teachers for flag in call}
    assert "--labeled" in names
    assert not names & {"--unlabeled", "--consistency", "--exclude"}
    assert not [name for name in names if name.startswith("--unlabeled")]


@page.holds("make variable that should be a number")
@pytest.mark.parametrize("text", ["1; touch touched", "1 2", "'1'", "$(shell echo 1)"])
def test_numbers(fault, make, text):
    for name in ("SEED", "ROUNDS", "FOLDS", "TARGET_PRECISION", "MAX_COPIES"):
        ended, calls = make("teacher", **{**SETTINGS, name: text})
        assert (ended.returncode, calls) == (2, [])
        fault.check(ended.stderr)
        assert f"{name}=" in ended.stderr
    assert not (make.root / "touched").exists()


@page.holds("make variable that should be a number")
@pytest.mark.parametrize(
    ("given", "environment"),
    [
        *(({name: text}, {}) for name in ("SEED", "FOLDS") for text in ("", "-1", "x")),
        *(({"SEED": text}, {}) for text in ("1000000", "01", "99999999999")),
        *(({name: "0"}, {}) for name in ("MAX_COPIES", "JOBS", "PATIENCE", "SECONDS")),
        *(({name: "x"}, {}) for name in ("JOBS", "TEST_PROCESSES", "KILLS", "RATE")),
        *(({name: "1.0"}, {}) for name in ("ROUNDS", "SEEDS", "MAX_WORKERS")),
        *(({"CONFIDENCE_THRESHOLD": text}, {}) for text in (".", "1.2.3", "-0.5", "")),
        *(({"THREADS": "-3"}, {}), ({"SECONDS": "10s"}, {}), ({"FOLDS": "1"}, {})),
        *(({"DUPLICATE_BITS": text}, {}) for text in ("-2", "", "1.5", "4", "00")),
        *(({"CONFIDENCE_THRESHOLD": text}, {}) for text in ("2", "1.5", "10", "00")),
        *(({"DUPLICATE_SIMILARITY": text}, {}) for text in ("95", "-0.9", "x")),
        *(({"TARGET_PRECISION": text}, {}) for text in ("7", "97", "1.01")),
        *(({"NEIGHBORS": text}, {}) for text in ("00", "010", "1001", "5000", "-1")),
        *(({"MAX_COPIES": text}, {}) for text in ("1001", "1.5", "00")),
        *(({"FOLDS": "00"}, {}), ({"IMAGES_PER_CLASS": "00"}, {})),
        *(({"CONSISTENCY": text}, {}) for text in ("maybe", "", "true")),
        *(({}, {"SEED": "-1"}), ({}, {"LABELS_PER_CLASS": "many"})),
    ],
)
def test_numbers_that_are_none(fault, make, given, environment):
    message = make.refused(fault, "teacher", environment=environment, **given)
    ((name, text),) = {**given, **environment}.items()
    assert f"got {name}={text}" in message


def test_numbers_that_are_right(make):
    ended, _ = make(
        "teacher",
        **{**SETTINGS, "SEED": "0", "DUPLICATE_BITS": "-1", "TARGET_PRECISION": ".97"},
        THREADS="",
        RATE="3.5",
        CONFIDENCE_THRESHOLD="1",
        FOLDS="10",
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    "given",
    [
        *({"TARGET_PRECISION": text} for text in ("0", "1", "1.0", "0.0", ".5")),
        *({"NEIGHBORS": text} for text in ("0", "9", "99", "999", "1000")),
        *({"DUPLICATE_BITS": "3", "CONSISTENCY": text} for text in ("on", "off")),
        {"MAX_COPIES": "1000"},
        {"DUPLICATE_SIMILARITY": "0.95"},
    ],
)
def test_numbers_at_their_limits(make, given):
    ended, _ = make("teacher", **SETTINGS, **given)
    assert ended.returncode == 0, ended.stderr


@page.holds("NEIGHBORS= with FEATURES=, FOLDS= or CALIBRATION=")
@pytest.mark.parametrize(
    "given",
    [{"FOLDS": "3"}, {"CALIBRATION": "folder:more"}, {"FEATURES": PRETRAINED}],
)
def test_neighbors_with_a_calibration(fault, make, given):
    make.refused(fault, "report", **SETTINGS, **given, NEIGHBORS="10")
    ended, _ = make("selection", **SETTINGS, **given, NEIGHBORS="0")
    assert ended.returncode == 0, ended.stderr


@page.holds("PYTHON= or IMAGE= with special characters")
@pytest.mark.parametrize("name", ["PYTHON", "IMAGE"])
@pytest.mark.parametrize("text", ["$(shell touch touched)", "a;touch touched", "a b"])
def test_words_that_a_shell_would_split(fault, make, name, text):
    for given in ({name: text}, {}):
        message = make.refused(
            fault, "teacher", environment={} if given else {name: text}, **given
        )
        assert f"{name}=" in message
    assert not (make.root / "touched").exists()


@page.holds("unknown make variable on the command line")
def test_a_variable_that_there_is_not(fault, make):
    message = make.refused(fault, "demo", LABELD="folder:x")
    assert "LABELED" in message
    ended, _ = make("teacher", environment={"LABELD": "x"}, **SETTINGS)
    assert ended.returncode == 0, ended.stderr


# --- PRESET=auto ---------------------------------------------------------------
FLAGS = "--set=image.size=64 --set=num_steps=9"


@pytest.mark.parametrize("target", ["report", "demo", "rounds"])
def test_own_images_are_chosen_for(make, target):
    make.choose(preset="tiny", flags=FLAGS)
    given = {**SETTINGS, "CALIBRATION": "folder:more", "MINUTES": "90", "ROUNDS": "1"}
    ended, calls = make(target, **given)
    assert ended.returncode == 0, ended.stderr
    asked = {"--labeled=folder:labeled", "--images=folder:all", "--minutes=90"}
    assert {*asked, "--output=runs/x/choice"} < {*make.asked}
    trained = [call for call in calls if call[1].endswith(".train")]
    assert {call[1] for call in trained} == {"teacher.train", "student.train"}
    for call in trained:
        assert call[2:5] == ["--preset=tiny", *FLAGS.split()]


def test_a_probe_is_chosen(make):
    make.choose(features="hf:timm/resnetrs50.tf_in1k", flags=FLAGS)
    ended, calls = make("report", **SETTINGS)
    assert ended.returncode == 0, ended.stderr
    probing = call_of(calls, "teacher.probe")
    assert "--features=hf:timm/resnetrs50.tf_in1k" in probing
    assert not {*FLAGS.split()} & {*probing}
    assert not [call for call in calls if "beam_jobs.propagate_labels" in call]
    for call in calls:
        if "student.train" in call:
            assert call[2:5] == ["--preset=tiny", *FLAGS.split()]


def test_what_the_user_sets_comes_after_what_is_chosen(make):
    make.choose(flags=FLAGS)
    given = {
        "TEACHER_FLAGS": "--set=image.size=96",
        "STUDENT_PRESET": "resnet_rs_50_160",
    }
    ended, calls = make("student", **SETTINGS, **given)
    assert ended.returncode == 0, ended.stderr
    teaching = call_of(calls, "teacher.train")
    assert teaching.index("--set=image.size=64") < teaching.index("--set=image.size=96")
    student = call_of(calls, "student.train")
    assert "--preset=resnet_rs_50_160" in student
    assert not {*FLAGS.split()} & {*student}
    assert "--network" in make.asked


@pytest.mark.parametrize(
    ("given", "needs_network"),
    [
        *(({"FOLDS": "3"}, True), ({"TEACHERS": "2"}, True)),
        *(({"CONSISTENCY": "on"}, True), ({"CONSISTENCY": "off"}, False)),
        *(({"NEIGHBORS": "10"}, True), ({"NEIGHBORS": "0"}, False)),
        ({"TEACHER_FLAGS": "--image_feature=x --label_feature=y"}, False),
        ({"TEACHER_FLAGS": "--license=labeled=MIT"}, False),
        ({"TEACHER_FLAGS": "--init_from=x"}, True),
        ({"FEATURES": PRETRAINED}, False),
    ],
)
def test_settings_of_a_network_choose_no_probe(make, given, needs_network):
    ended, _ = make("teacher", **SETTINGS, **given)
    assert ended.returncode == 0, ended.stderr
    assert ("--network" in make.asked) == needs_network
    assert (f"--features={PRETRAINED}" in make.asked) == ("FEATURES" in given)


def test_a_choice_knows_the_settings_of_the_features(make):
    flags = ["--set=image.size=96", "--set=probe.folds=3"]
    given = {"FEATURES": PRETRAINED, "TEACHER_FLAGS": " ".join(flags)}
    ended, calls = make("teacher", **SETTINGS, **given)
    assert ended.returncode == 0, ended.stderr
    assert {*flags} < {*make.asked}
    assert {*flags} < {*call_of(calls, "teacher.probe")}
    make("teacher", **{**SETTINGS, "RUN": "runs/y"}, TEACHER_FLAGS=flags[0])
    assert not {*flags} & {*make.asked}


def test_a_choice_is_made_once(make):
    make.choose(flags=FLAGS)
    make("teacher", **SETTINGS)
    make.choose(preset="resnet_rs_50_160")
    ended, calls = make("student", **SETTINGS)
    assert ended.returncode == 0, ended.stderr
    assert "--set=image.size=64" in call_of(calls, "student.train")


@pytest.mark.parametrize(
    ("targets", "given"),
    [
        *((("help",), {}), (("clean", "clean-demo"), {}), ((), {})),
        (("teacher",), {"PRESET": "tiny"}),
    ],
)
def test_nothing_is_chosen_without_need(make, targets, given):
    ended, _ = make(*targets, **SETTINGS, **given)
    assert ended.returncode == 0, ended.stderr
    assert not (make.root / "asked").exists()


def test_a_dry_run_shows_the_chosen_commands(make):
    make.choose(flags=FLAGS)
    ended, calls = make("teacher", "--dry-run", **SETTINGS)
    assert ended.returncode == 0, ended.stderr
    assert calls == []
    assert f"teacher.train --preset=tiny {FLAGS}" in ended.stdout


def test_it_is_said_why_test_images_are_labeled(make):
    ended, _ = make("selection", **SETTINGS, PRESET="tiny")
    assert ended.returncode == 0, ended.stderr
    assert "excluded/set-1: labels test images" in ended.stdout


@page.holds("make -n with PRESET=auto before make setup")
def test_a_dry_run_installs_nothing(fault, make):
    (make.root / ".venv" / "demo-installed").unlink()
    make.refused(fault, "report", "-n", **SETTINGS)
    make.refused(fault, "report", "--dry-run", **SETTINGS)
    ended, _ = make("report", "-n", **SETTINGS, PRESET="tiny")
    assert ended.returncode == 0, ended.stderr


@page.holds("PRESET=auto without LABELED=")
def test_nothing_is_chosen_for_the_digits(fault, make):
    make.refused(fault, "teacher", PRESET="auto")


@page.holds("choice of a run that holds more than names")
@pytest.mark.parametrize(
    "line",
    [
        *("$(shell touch touched)", "CHOSEN_PRESET := $(shell touch touched)", "x:"),
        *("CHOSEN_PRESET := tiny;touch touched", "CHOSEN_PRESET := `touch touched`"),
        *("include other.mk", "\ttouch touched", "SHELL := /bin/false"),
    ],
)
def test_what_is_chosen_runs_nothing(fault, make, line):
    (make.root / "runs" / "x" / "choice").mkdir(parents=True)
    written = make.root / "runs" / "x" / "choice" / "choice.mk"
    written.write_text(f"CHOSEN_PRESET := tiny\n{line}\n")
    ended, calls = make("teacher", **SETTINGS)
    assert (ended.returncode, calls) == (2, [])
    fault.check(ended.stderr)
    assert not (make.root / "touched").exists()


# --- what a run was begun with -------------------------------------------------
def write_images(root):
    """Writes an image into each folder that `SETTINGS` names."""
    for name in ("labeled", "test", "all"):
        write_folder(root / name, random_images(1))


def test_a_runner_changes_no_setting(make):
    write_images(make.root)
    (make.root / ".venv" / "gcp-installed").touch()
    cloud = {"RUNNER": "dataflow", "PROJECT": "p", "REGION": "r", "BUCKET": "bin"}
    ended, _ = make("teacher", compares="yes", **SETTINGS, **cloud)
    assert ended.returncode == 0, ended.stderr
    (make.root / "runs" / "x" / "round-1").mkdir()
    ended, _ = make("teacher", compares="yes", **SETTINGS)
    assert ended.returncode == 0, ended.stderr


@page.holds("images of a new run of make that are not there")
@pytest.mark.parametrize("name", ["LABELED", "EVALUATION", "IMAGES", "CLASS_NAMES"])
def test_images_that_are_not_there(fault, make, name):
    write_images(make.root)
    wrong = {**SETTINGS, name: "folder:imgaes"}
    ended, calls = make("teacher", compares="yes", **wrong)
    assert (ended.returncode, calls) == (2, [])
    line, _ = ended.stderr.splitlines()
    assert f"{name}=folder:imgaes" in line
    fault.check(line)
    assert not (make.root / "runs" / "x" / "settings").exists()


@page.holds("preset or flag of a later stage that there is not")
@pytest.mark.parametrize(
    ("name", "text"),
    [
        *((name, "tyni") for name in ("PRESET", "STUDENT_PRESET")),
        *((name, "--xyz=1") for name in ("TEACHER_FLAGS", "STUDENT_FLAGS")),
        *(("STUDENT_FLAGS", text) for text in ("--set=num_stepz=9", "--set=num_steps")),
        ("STUDENT_FLAGS", "--set=consistency.threshold=0.9"),
        (
            "STUDENT_FLAGS",
            "--set=mixture.temperature=0.4 --set=mixture.target_kind=hard",
        ),
        ("TEACHER_FLAGS", "--set=image.size=large"),
        *(("SELECTION_FLAGS", text) for text in ("--whatif", "--max_copies=many")),
    ],
)
def test_what_a_later_stage_refuses(fault, make, name, text):
    write_images(make.root)
    ended, calls = make("student", compares="yes", **SETTINGS, **{name: text})
    assert (ended.returncode, calls) == (2, [])
    line, _ = ended.stderr.splitlines()
    fault.check(line)
    assert f" {name}={text}: " in line.replace(" TEACHER_FLAGS=:", ":").replace(
        " STUDENT_FLAGS=:", ":"
    )
    assert not (make.root / "runs" / "x" / "settings").exists()


def test_flags_of_a_probe(run):
    given = {"FEATURES": PRETRAINED, "TEACHER_FLAGS": "--set=probe.folds=10"}
    assert run.compare(PRESET="auto", **given) == ""
    message = run.compare(FEATURES=PRETRAINED, TEACHER_FLAGS="--consistency=off")
    assert message.startswith("error: TEACHER_FLAGS=--consistency=off: ")


@pytest.mark.parametrize("name", ["LABELED", "IMAGES"])
def test_a_run_lies_outside_of_its_images(make, name):
    write_images(make.root)
    folder = SETTINGS[name].removeprefix("folder:")
    inside = {**SETTINGS, "RUN": f"{folder}/run", "PRESET": "tiny"}
    ended, calls = make("teacher", compares="yes", **inside)
    assert (ended.returncode, calls) == (2, [])
    assert f"RUN={folder}/run lies in {name}={SETTINGS[name]}" in ended.stderr
    assert not (make.root / folder / "run").exists()


def test_calibration_images_belong_to_the_labeled_ones(make):
    ended, calls = make("teacher", CALIBRATION="folder:more")
    assert (ended.returncode, calls) == (2, [])
    assert "LABELED=, EVALUATION= and IMAGES= with CALIBRATION=folder:more" in (
        ended.stderr
    )


def test_flags_of_later_stages(run):
    given = {
        "PRESET": "resnet_rs_50_160",
        "STUDENT_FLAGS": "--set=mixture.labeled_fraction=0.5 --verbosity=1",
        "TEACHER_FLAGS": "--preset=tiny --set=image.size=64 --image_feature=x",
        "SELECTION_FLAGS": "--what_if --class_thresholds=x.json",
    }
    assert run.compare(**given) == ""


@page.holds("make variable corrected after a failed first stage")
def test_settings_are_corrected_while_nothing_was_made(fault, make):
    assert fault.end == endings.WORKS
    write_images(make.root)
    wrong = {**SETTINGS, "LABELED": "folder:test"}
    ended, _ = make("teacher", compares="yes", failing="test", **wrong)
    assert ended.returncode == 2
    ended, calls = make("teacher", compares="yes", **SETTINGS)
    assert ended.returncode == 0, ended.stderr
    assert len(calls) == 1
    written = json.loads((make.root / "runs/x/settings").read_text())
    assert written["variables"]["LABELED"] == "folder:labeled"


@page.holds("make with other settings than the run was begun with")
def test_settings_of_what_was_made_stay(fault, make):
    write_images(make.root)
    begun = make("teacher", compares="yes", **SETTINGS)
    assert begun[0].returncode == 0
    (make.root / "runs" / "x" / "round-1").mkdir()
    before = (make.root / "runs" / "x" / "settings").read_text()
    other = {**SETTINGS, "IMAGES": "folder:others"}
    ended, calls = make("teacher", compares="yes", **other)
    assert (ended.returncode, calls) == (2, [])
    line, _ = ended.stderr.splitlines()  # Then one of make.
    fault.check(line)
    assert "LABELED=" not in line
    assert (make.root / "runs" / "x" / "settings").read_text() == before


class Run:
    """A run that has made something, and its images."""

    def __init__(self, root):
        self.root = root
        self.path = root / "run"
        (self.path / "round-1").mkdir(parents=True)
        self.variables = {}
        for name in ("LABELED", "EVALUATION", "IMAGES", "CALIBRATION", "EXCLUDE"):
            write_folder(root / name / "a", random_images(2))
            self.variables[name] = f"folder:{root}/{name}"
        (root / "names").write_text("a\nb\n")
        self.variables["CLASS_NAMES"] = str(root / "names")

    def compare(self, **variables):
        """Returns what the command prints: nothing if there is no difference."""
        given = {**self.variables, **variables}
        ended = commands.call(
            *("workflow.settings", f"--run={self.path}", f"--data_dir={self.root}"),
            *(f"{name}={text}" for name, text in given.items()),
        )
        assert ended.returncode == bool(ended.stderr)
        return ended.stderr


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


@pytest.mark.parametrize("name", ["LABELED", "EVALUATION", "IMAGES"])
def test_a_source_without_its_form_is_told_the_forms(run, name):
    folder = str(run.root / name)
    error = run.compare(**{name: folder})
    assert f"expected {name}= as folder:PATH, csv:FILE" in error
    assert error.rstrip().endswith(f"got {folder}")


def move(folder):
    """Corrects the label of an image."""
    (folder / "b").mkdir()
    first = min((folder / "a").iterdir())
    first.rename(folder / "b" / first.name)


def touch(folder):
    os.utime(min((folder / "a").iterdir()), ns=(0, 1))


def grow(folder):
    with min((folder / "a").iterdir()).open("ab") as file:
        file.write(b"x")


def add(folder):
    (folder / "a" / "more.png").touch()


@page.holds("images or labels that changed since make began the run")
@pytest.mark.parametrize("change", [move, touch, grow, add])
@pytest.mark.parametrize(
    "name", ["LABELED", "EVALUATION", "IMAGES", "CALIBRATION", "EXCLUDE"]
)
def test_images_that_changed(fault, run, change, name):
    assert fault.end == endings.REFUSED
    assert run.compare() == ""
    assert run.compare() == ""
    change(run.root / name)
    message = run.compare()
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    fault.check(message)
    assert f" {name}= " in message
    (run.path / "settings").unlink()
    assert run.compare() == ""


@page.holds("images or labels that changed since make began the run")
@pytest.mark.parametrize("source", ["tfrecord:{}/LABELED/*/*.png", "tfds:LABELED/a:x"])
def test_files_of_other_sources(fault, run, source):
    given = {"LABELED": source.format(run.root)}
    assert run.compare(**given) == ""
    grow(run.root / "LABELED")
    message = run.compare(**given)
    fault.check(message)
    assert " LABELED= " in message


def test_files_beside_those_that_make_has_made(run):
    given = {"LABELED": f"folder:{run.path}/data_labeled"}
    (run.root / "LABELED").rename(run.path / "data_labeled")
    assert run.compare(**given) == ""
    grow(run.path / "data_labeled")
    assert " LABELED= " in run.compare(**given)


def test_class_names_that_changed(run):
    assert run.compare() == ""
    (run.root / "names").write_text("b\na\nc\n")
    assert " CLASS_NAMES= " in run.compare()


def test_images_that_are_excluded_by_default_are_named_once(run):
    write_folder(run.root / "more", random_images(1))
    given = {"EXCLUDE": f"{run.variables['LABELED']}  folder:{run.root}/more"}
    assert run.compare(**given) == ""
    grow(run.root / "LABELED")
    message = run.compare(**given)
    assert " LABELED= " in message
    assert "EXCLUDE" not in message


@page.holds("images that are gone when make reports on a finished run")
def test_images_that_are_gone(fault, run):
    assert fault.end == endings.WORKS
    assert run.compare() == ""
    (run.root / "IMAGES").rename(run.root / "moved")
    assert run.compare() == ""
    (run.root / "moved").rename(run.root / "IMAGES")
    assert run.compare() == ""
    grow(run.root / "IMAGES")
    assert " IMAGES= " in run.compare()


def test_images_that_the_run_makes_may_change(run):
    write_folder(run.path / "data" / "a", random_images(2))
    given = {"IMAGES": f"folder:{run.path}/data", "LABELED": "folder:gs://x/y"}
    assert run.compare(**given) == ""
    add(run.path / "data")
    assert run.compare(**given) == ""


@page.holds("run that make of an earlier version has begun")
def test_settings_of_an_earlier_version(fault, run):
    assert fault.end == endings.WORKS
    line = "LABELED=folder:my images PRESET=tiny EXCLUDE=folder:a folder:b  SEED=1"
    (run.path / "settings").write_text(f"{line}\n")
    run.variables = {
        "LABELED": "folder:my images",
        "CLASS_NAMES": "names",
        "SEED": "1",
        "EXCLUDE": "folder:a folder:b ",
        "PRESET": "tiny",
    }
    message = run.compare(SEED="2")
    assert "SEED=1, got SEED=2;" in message
    assert "LABELED" not in message
    assert run.compare() == ""
    assert "CLASS_NAMES=names, got CLASS_NAMES=;" in run.compare(CLASS_NAMES="")


# --- numbers -------------------------------------------------------------------
def seeds_of(make, seed):
    _, calls = make("student", **SETTINGS, ROUND=20, SEED=seed, TEACHERS=20)
    return [
        int(flag.removeprefix("--seed="))
        for call in calls
        if call[1].endswith(".train")
        for flag in call
        if flag.startswith("--seed=")
    ]


def test_no_two_classifiers_of_any_seeds_share_a_seed(make):
    found = [seed for given in (1, 11, 999999) for seed in seeds_of(make, given)]
    assert len(found) == len(set(found)) == 3 * (20 + 20)
    assert {11, 12, 13} < set(found)
    assert max(found) < 2**32


def test_the_student_of_the_last_round_is_calibrated(make):
    given = {**SETTINGS, "CALIBRATION": "folder:more", "ROUNDS": 20}
    ended, calls = make("calibration", **given, ROUND=21)
    assert ended.returncode == 0, ended.stderr
    calibrated = [call for call in calls if "teacher.calibrate" in call][-1]
    assert "--output=runs/x/round-21/calibration" in calibrated
    assert "--teacher=runs/x/round-20/student" in calibrated
    ended, _ = make("calibration", **given, ROUND=22)
    assert "ROUND=22" in ended.stderr
