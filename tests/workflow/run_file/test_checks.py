"""What is refused before any work; the flags are those of the stages themselves."""

import os

import pytest

from classifier.data import source_forms
from workflow.chain.receipts import SourceFiles
from workflow.run_file.checks import check_files, check_run
from workflow.run_file.reading import read_run


@pytest.fixture
def check(tmp_path):
    """Checks settings of a run with images in folders."""
    for name in ("labeled", "test", "all", "more"):
        (tmp_path / name / "a").mkdir(parents=True)
        (tmp_path / name / "a" / f"{name}.png").write_text(name)
    given = {"labeled": "labeled", "evaluation": "test", "unlabeled": "all"}
    sources = [f"data.{name}={tmp_path}/{path}" for name, path in given.items()]

    def check(*assignments, goal="report", number=1, output="run"):
        config = read_run(
            None, [*sources, *assignments], output=os.path.join(tmp_path, output)
        )
        files = SourceFiles(data_dir=config.data.data_dir, run=config.output)
        check_run(config, goal=goal, number=number, find_files=files)
        return config, files

    check.root = tmp_path
    return check


def test_a_run_with_all_settings_right(check):
    check()
    check("teacher.preset=tiny", "student.preset=resnet_rs_50_160")
    check("teacher.settings.image.size=64", "student.settings.mixture.target_kind=hard")
    check("teacher.features=keras:x", "teacher.settings.probe.folds=10")
    check("selection.flags=['--what_if', '--class_thresholds=x.json']")
    check("labeling.flags=['--top_k=3']", "teacher.flags=['--init_from=x']")


@pytest.mark.parametrize(
    ("assignment", "mentions"),
    [
        ("teacher.preset=tyni", ["teacher.preset", "'tyni'", "tiny", "auto"]),
        ("student.preset=tyni", ["student.preset", "'tyni'", "tiny"]),
        ("teacher.settings.num_stepz=9", ["teacher.settings", "'num_steps'"]),
        ("student.settings.num_stepz=9", ["student.settings", "'num_steps'"]),
        ("teacher.settings.image.size=large", ["teacher.settings", "image.size"]),
        ("student.settings.consistency.threshold=0.9", ["student.settings"]),
        ("teacher.flags=['--xyz=1']", ["teacher.flags", "'xyz'"]),
        ("student.flags=['--xyz=1']", ["student.flags", "'xyz'"]),
        ("labeling.flags=['--topk=3']", ["labeling.flags", "'topk'"]),
        ("selection.flags=['--whatif']", ["selection.flags", "'whatif'"]),
        ("selection.flags=['--max_copies=many']", ["selection.flags", "max_copies"]),
        ("data.evaluation=", ["data.evaluation"]),
        ("data.unlabeled=", ["data.unlabeled"]),
        ("data.labeled=", ["data.labeled"]),
        ("output=gs://bin/run", ["output", "gs://bin/run"]),
    ],
)
def test_what_a_later_stage_would_refuse(check, assignment, mentions):
    is_split = assignment == "data.evaluation="
    more = ["data.labeled=csv:x.csv"] if is_split else []
    output = assignment.partition("=")[2] if "output" in assignment else "run"
    with pytest.raises(ValueError, match=r"^.+$") as error:
        check(assignment, *more, output=output)
    assert all(mention in str(error.value) for mention in mentions), error.value


def test_settings_that_do_not_go_together(check):
    sampled = "student.settings.mixture"
    with pytest.raises(ValueError, match=r"student\.settings"):
        check(f"{sampled}.temperature=0.4", f"{sampled}.target_kind=hard")
    with pytest.raises(ValueError, match=r"teacher\.consistency"):
        check("teacher.consistency=off", "teacher.settings.consistency.threshold=0.9")
    with pytest.raises(ValueError, match=r"teacher\.flags"):
        check("teacher.features=keras:x", "teacher.flags=['--consistency=off']")


def test_the_student_has_the_recipe_of_the_teacher(check):
    with pytest.raises(ValueError, match=r"student\.preset"):
        check("teacher.preset=fine_tune")  # For teachers alone.
    check("teacher.preset=fine_tune", "student.preset=tiny")


def test_nothing_is_chosen_for_the_digits(tmp_path):
    digits = "data.digits.labels_per_class=5"
    find = SourceFiles(data_dir="", run=str(tmp_path))
    config = read_run(None, [digits], output=str(tmp_path))
    with pytest.raises(ValueError, match=r"teacher\.preset"):
        check_run(config, goal="report", number=1, find_files=find)
    config = read_run(None, [digits, "teacher.preset=tiny"], output=str(tmp_path))
    check_run(config, goal="report", number=1, find_files=find)


def test_a_folder_to_hold_images_out_of_is_to_be_there(check):
    with pytest.raises(ValueError, match=r"data\.labeled.* folder .* got .*imgaes"):
        check(f"data.labeled={check.root}/imgaes", "data.evaluation=")


@pytest.mark.parametrize(
    ("goal", "number", "needs"),
    [
        *(("teacher", 1, False), ("calibration", 1, False), ("teacher", 2, True)),
        *(("labels", 1, True), ("report", 1, True)),
    ],
)
def test_unlabeled_images_are_needed_by_most_goals(check, goal, number, needs):
    if needs:
        with pytest.raises(ValueError, match=r"data\.unlabeled"):
            check("data.unlabeled=", goal=goal, number=number)
    else:
        check("data.unlabeled=", goal=goal, number=number)
        with pytest.raises(ValueError, match=r"data\.unlabeled"):
            check("data.unlabeled=", "teacher.consistency=on", goal=goal)


@pytest.mark.parametrize("form", ["", "folder:"])
@pytest.mark.parametrize("name", ["labeled", "evaluation", "unlabeled", "calibration"])
def test_a_run_lies_outside_of_its_images(check, name, form):
    with pytest.raises(ValueError, match=f"lies in {form}{check.root}/more"):
        check(f"data.{name}={form}{check.root}/more", output="more/run")


def test_the_output_is_no_file(check):
    (check.root / "file").touch()
    with pytest.raises(ValueError, match="expected a directory, got the file"):
        check(output="file/run")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        *(("labeled", "evaluation"), ("labeled", "calibration")),
        ("evaluation", "calibration"),
    ],
)
@pytest.mark.parametrize("form", ["", "folder:"])
def test_images_to_measure_on_are_not_learned_from(check, first, second, form):
    same = [f"data.{first}={check.root}/more", f"data.{second}={form}{check.root}/more"]
    with pytest.raises(ValueError, match=rf"data\.{first} and data\.{second}"):
        check(*same)


def test_splits_of_a_dataset_are_different_images(check):
    (check.root / "dataset").mkdir()
    (check.root / "dataset" / "x").touch()
    splits = [f"tfds:{check.root}/dataset:{split}" for split in ("train", "test[:9%]")]
    check(f"data.labeled={splits[0]}", f"data.evaluation={splits[1]}")
    with pytest.raises(ValueError, match="different images"):
        check(f"data.labeled={splits[0]}", f"data.evaluation={splits[0]}")


@pytest.mark.parametrize("name", ["labeled", "evaluation", "unlabeled", "calibration"])
def test_images_that_are_not_there_are_named(check, name):
    config, files = check(f"data.{name}={check.root}/imgaes")
    spec = getattr(config.data, name)
    with pytest.raises(ValueError, match=rf"data\.{name} = .*imgaes: no such files"):
        check_files(config, [spec], files)
    check_files(config, [], files)  # Nothing is to be read.
    (check.root / "imgaes").mkdir()
    (check.root / "imgaes" / "a.png").touch()
    again = SourceFiles(data_dir="", run=config.output)
    check_files(config, [spec], again)


@pytest.mark.parametrize("name", ["imgaes", "labeled"])
def test_names_of_classes_are_in_a_file(check, name):
    config, files = check(f"data.class_names={check.root}/{name}")
    with pytest.raises(ValueError, match=rf"data\.class_names = .*{name}: .* file"):
        check_files(config, [config.data.class_names], files)
    (check.root / "names.txt").write_text("a\n")
    config, files = check(f"data.class_names={check.root}/names.txt")
    check_files(config, [config.data.class_names], files)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("notes.txt", "folder of images"),
        ("photo.jpg", "folder of images"),
        ("empty", "is there and holds no images"),
        ("folder:{root}/notes.txt", "no folder"),
        ("tfrecord:{root}/*.tfrecord", "no file matches"),
    ],
)
def test_what_is_no_source_is_told_as_by_its_stage(check, path, words):
    for name in ("notes.txt", "photo.jpg"):
        (check.root / name).touch()
    (check.root / "empty").mkdir()
    spec = path.format(root=check.root) if ":" in path else f"{check.root}/{path}"
    config, files = check(f"data.unlabeled={spec}")
    with pytest.raises(ValueError, match=words) as refusal:
        check_files(config, [spec], files)
    with pytest.raises((ValueError, OSError)) as told:
        source_forms.check_files(spec)
    assert str(refusal.value) == f"data.unlabeled = {told.value}"


def test_excluded_images_that_are_not_there(check):
    config, files = check(f"data.exclude=['{check.root}/imgaes']")
    with pytest.raises(ValueError, match=r"data\.exclude = "):
        check_files(config, config.images.excluded(), files)


def test_dataflow_reads_buckets_alone(check):
    cloud = [
        *("runner.name=dataflow", "runner.dataflow.project=p"),
        *("runner.dataflow.region=r", "runner.dataflow.bucket=bin"),
    ]
    with pytest.raises(ValueError, match=r"data\.unlabeled"):
        check(*cloud)
