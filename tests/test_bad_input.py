"""What a user can get wrong: one clear line, before any work."""

import dataclasses
import json
import shutil

import h5py
import numpy as np
import pytest

from stage import artifact
from tests.commands import call, start
from tests.conftest import CLASS_NAMES, export
from tests.images import random_images, write_folder, write_records

LABELS = [0, 1, 2]


@dataclasses.dataclass(frozen=True)
class Case:
    """A wrong command line; {NAME} is a path of `places`.

    Attributes:
        name: What is wrong.
        command: Module and flags.
        mentions: What the message must name: flags, settings, files, values.
    """

    name: str
    command: tuple[str, ...]
    mentions: tuple[str, ...]


TRAIN = (
    "teacher.train",
    "--labeled=folder:{labeled}",
    "--evaluation=folder:{labeled}",
    "--workdir={new}",
)
STUDENT = ("student.train", *TRAIN[1:])
SMALL = ("--set=model.width_multiplier=0.0625",)
CALIBRATE = ("teacher.calibrate", "--teacher={teacher}", "--output={new}")
LABEL = ("beam_jobs.label_images", "--images=folder:{labeled}", "--output={new}")
SELECT = ("beam_jobs.select_labels", "--output={new}")
WRITE = ("beam_jobs.write_records", "--images=tfrecord:{records}", "--output={new}")
INPUTS = ("--predictions={predictions}", "--selection={selection}")

CASES = [
    Case("unknown flag", (*TRAIN, "--preset_=x"), ("'preset_'",)),
    Case(
        "unknown preset",
        (*TRAIN, "--preset=huge"),
        (
            "preset",
            "'huge'",
        ),
    ),
    Case(
        "preset nearly known",
        (*TRAIN, "--preset=resnetrs_50_160"),
        ("'resnet_rs_50_160'",),
    ),
    Case(
        "depth",
        (*TRAIN, "--preset=resnet_rs_51"),
        (
            "14, 17",
            "420",
        ),
    ),
    Case(
        "resolution",
        (*TRAIN, "--preset=resnet_rs_420_8"),
        (
            "image.size",
            "32",
            "got 8",
        ),
    ),
    Case(
        "student's preset",
        (*STUDENT, "--preset=resnet_rs_152x224"),
        ("'resnet_rs_152_224'",),
    ),
    Case(
        "model",
        (*TRAIN, "--set=model.name=efficientv2b0"),
        ("'EfficientNetV2B0'",),
    ),
    Case(
        "image too small for the network",
        (*TRAIN, "--set=model.name=InceptionV3"),
        (
            "InceptionV3",
            "75x75",
        ),
    ),
    Case(
        "averages",
        (*TRAIN, "--set=optimizer.ema_decay=0.0"),
        (
            "model.batch_norm_momentum",
            "optimizer.ema_decay",
        ),
    ),
    Case(
        "one class",
        (*TRAIN, "--labeled=folder:{one_class}", "--evaluation=folder:{one_class}"),
        (
            "2 classes",
            "got 1",
        ),
    ),
    Case(
        "weights of other classes",
        (*TRAIN, "--init_from={other_teacher}", *SMALL),
        (
            "2 classes",
            "got 3",
            "--new_head",
        ),
    ),
    Case(
        "weights of another width",
        (*TRAIN, "--init_from={teacher}"),
        (
            "stem_0_conv/kernel",
            "(3, 3, 3, 8)",
            "(3, 3, 3, 2)",
        ),
    ),
    Case(
        "weights of another network",
        (*STUDENT, "--init_from=resnet_rs_h5:{other_weights}"),
        (
            "{other_weights}",
            "(3, 4, 6, 3)",
            "(0, 0, 0, 0)",
            "not to NAME.weights.h5",
        ),
    ),
    Case(
        "weights without a network",
        (*TRAIN, "--init_from=keras:imagenet"),
        (
            "keras:imagenet",
            "resnet_rs_14",
            "--set=model.name=",
        ),
    ),
    Case(
        "no weights",
        (*TRAIN, "--init_from=resnet_rs_h5:{file}"),
        (
            "{file}",
            "HDF5",
        ),
    ),
    Case("missing weights", (*TRAIN, "--init_from=/no/such"), ("/no/such",)),
    Case(
        "new head of nothing",
        (*TRAIN, "--new_head"),
        (
            "--new_head",
            "--init_from",
        ),
    ),
    Case(
        "summary",
        ("classifier.summary", "--preset=resnet_rs_50_160", "--scale=99"),
        ("ResNet-RS",),
    ),
    Case(
        "control of no size",
        (*STUDENT, "--control"),
        (
            "--control",
            "--pseudo_labeled",
        ),
    ),
    Case(
        "frozen stages",
        (*TRAIN, "--set=frozen_stages=5"),
        (
            "frozen_stages",
            "0..4",
            "got 5",
        ),
    ),
    Case(
        "no student to go on with",
        (
            *("student.fix_resolution", "--student=/no/such", "--workdir={new}"),
            *("--labeled=folder:{labeled}", "--evaluation=folder:{labeled}"),
        ),
        ("'/no/such'",),
    ),
    Case(
        "student of other classes",
        (
            *("student.evaluate", "--student={other_teacher}", "--output={new}"),
            "--evaluation=folder:{labeled}",
        ),
        (
            "2 classes",
            "got 3",
        ),
    ),
    Case(
        "nothing to predict",
        ("classifier.predict", "--classifier={teacher}"),
        ("images",),
    ),
    Case(
        "format of an export",
        ("classifier.export_model", "--classifier={teacher}", "--output={new}.h5"),
        (
            ".keras",
            ".onnx",
        ),
    ),
    Case(
        "more images than excluded sets",
        (
            *("workflow.sample_images", "--images=tfrecord:{records}", *INPUTS),
            *("--output={new}", "--exclude_images=folder:{labeled}"),
        ),
        (
            "--exclude_images",
            "--exclude",
        ),
    ),
    Case(
        "rounds of nothing",
        ("workflow.rounds", "--run={new}"),
        ("{new}",),
    ),
    Case("missing flag", TRAIN[:2], ("--evaluation",)),
    Case("word behind flags", (*TRAIN, "now"), ("'now'",)),
    Case(
        "setting",
        (*TRAIN, "--set=num_step=3"),
        (
            "'num_step'",
            "'num_steps'",
        ),
    ),
    Case(
        "value",
        (*TRAIN, "--set=num_steps=x"),
        (
            "num_steps",
            "int",
            "'x'",
        ),
    ),
    Case(
        "warm-up",
        (*TRAIN, "--set=num_steps=9", "--set=optimizer.warmup_steps=9"),
        (
            "optimizer.warmup_steps",
            "num_steps (9)",
        ),
    ),
    Case(
        "source",
        (*TRAIN, "--labeled=photos"),
        (
            "tfds:NAME",
            "'photos'",
        ),
    ),
    Case("missing path", (*TRAIN, "--labeled=folder:/no/such"), ("'/no/such'",)),
    Case(
        "unlabeled images to learn from",
        (*TRAIN, "--labeled=tfrecord:{records}"),
        ("{records}",),
    ),
    Case(
        "class lists",
        (*TRAIN, "--evaluation=folder:{two_classes}"),
        (
            "3 classes",
            "got 2",
        ),
    ),
    Case(
        "image that cannot be decoded",
        (*TRAIN, "--labeled=folder:{bad_image}"),
        ("a/note.txt",),
    ),
    Case(
        "folds without a fold",
        (*TRAIN, "--folds=3"),
        (
            "--folds=3",
            "--fold",
        ),
    ),
    Case(
        "fold",
        (*TRAIN, "--folds=3", "--fold=3"),
        (
            "fold",
            "0..2",
            "got 3",
        ),
    ),
    Case(
        "folds of one image a class",
        (*TRAIN, "--folds=2", "--fold=0"),
        (
            "--folds",
            "'a'",
        ),
    ),
    Case(
        "nothing to calibrate on",
        CALIBRATE,
        (
            "--held_out",
            "--out_of_fold",
        ),
    ),
    Case(
        "folds that no teacher left out",
        (*CALIBRATE, "--out_of_fold=folder:{labeled}"),
        (
            "{teacher}",
            "fold",
        ),
    ),
    Case(
        "calibration on images of other classes",
        (*CALIBRATE, "--held_out=folder:{two_classes}"),
        (
            "3 classes",
            "got 2",
        ),
    ),
    Case(
        "no calibration",
        (*LABEL, "--teacher={teacher}", "--calibration={teacher}"),
        (
            "{teacher}",
            "calibration.json",
        ),
    ),
    Case("unwritable", (*TRAIN, "--workdir={file}/x"), ("{file}/x",)),
    Case("occupied", (*TRAIN, "--workdir={labeled}"), ("{labeled}",)),
    Case("no such teacher", (*LABEL, "--teacher=/no/such"), ("'/no/such'",)),
    Case("no teacher", (*LABEL, "--teacher={labeled}"), ("{labeled}",)),
    Case(
        "teachers of other classes",
        (*LABEL, "--teacher={teacher}", "--teacher={other_teacher}"),
        (
            "3 classes",
            "got 2",
        ),
    ),
    Case(
        "teacher of other classes than the images",
        (
            "teacher.evaluate",
            "--teacher={other_teacher}",
            "--evaluation=folder:{labeled}",
            "--output={new}",
        ),
        (
            "2 classes",
            "got 3",
        ),
    ),
    Case(
        "Beam option",
        (*LABEL, "--teacher={teacher}", "--", "--runer=FnApiRunner"),
        ("--runer",),
    ),
    Case(
        "Beam option in front",
        (*LABEL, "--teacher={teacher}", "--runner=FnApiRunner"),
        ("'runner'",),
    ),
    Case(
        "threshold",
        (*SELECT, "--predictions={predictions}", "--confidence_threshold=1.5"),
        (
            "confidence_threshold",
            "[0, 1]",
            "got 1.5",
        ),
    ),
    Case(
        "negative quota",
        (*SELECT, "--predictions={predictions}", "--images_per_class=-1"),
        ("--images_per_class",),
    ),
    Case("no predictions", (*SELECT, "--predictions={teacher}"), ("{teacher}",)),
    Case(
        "selection of other predictions",
        (*WRITE, "--predictions={predictions}", "--selection={other_selection}"),
        ("{other_selection}",),
    ),
    Case(
        "images that were not labeled",
        (*WRITE, *INPUTS, "--images=folder:{labeled}"),
        ("{labeled}", "{predictions}"),
    ),
    Case("pseudo-labels", (*STUDENT, "--pseudo_labeled=/no/such"), ("/no/such",)),
    Case(
        "pseudo-labels of nothing",
        (*STUDENT, "--pseudo_labeled={teacher}"),
        ("{teacher}", "beam_jobs.write_records"),
    ),
    Case(
        "pseudo-labels of other classes",
        (*STUDENT, "--pseudo_labeled={other_dataset}"),
        (
            "3 classes",
            "got 2",
        ),
    ),
    Case("report", ("workflow.report", "--run={labeled}"), ("teacher",)),
]


@pytest.fixture(scope="module")
def places(tmp_path_factory, config, exported):
    root = tmp_path_factory.mktemp("bad_input")
    names = (
        *("labeled", "two_classes", "records", "file", "new", "teacher"),
        *("other_teacher", "predictions", "selection", "other_selection"),
        *("other_dataset", "bad_image", "one_class", "other_weights"),
    )
    places = {name: root / name for name in names}
    write_folder(places["labeled"], random_images(3), LABELS)
    write_folder(places["bad_image"], random_images(3), LABELS)
    (places["bad_image"] / "a" / "note.txt").write_text("a cat")
    write_folder(places["two_classes"], random_images(2), [0, 1])
    write_folder(places["one_class"], random_images(2), [0, 0])
    with h5py.File(places["other_weights"], "w") as file:
        file["block1a_conv/kernel:0"] = np.zeros((3, 3, 3, 8), np.float32)
    write_records(places["records"], random_images(2))
    places["file"].write_text("a file")
    shutil.copytree(exported[0], places["teacher"])
    export(places["other_teacher"], config, seed=1, class_names=("a", "b"))
    make_predictions(places)
    make_dataset(places["other_dataset"])
    return places


def make_predictions(places):
    """Empty predictions and two selections, only one of which is of them."""
    from classifier.data.sources import open_source
    from pseudo_label.predictions import schema as prediction_schema
    from pseudo_label.predictions.prediction_set import open_predictions
    from tests.pseudo_label.selection.selections import config, run, to_table

    job = {
        "images": open_source(f"tfrecord:{places['records']}").describe(),
        "teachers": ["abc"],
        "class_names": CLASS_NAMES,
        "top_k": 3,
    }
    artifact.start_or_resume(places["predictions"], job)
    with (places["predictions"] / prediction_schema.shard_name(0)).open("wb") as file:
        of_rows = artifact.config_fingerprint(job, leaving_out="images")
        prediction_schema.write_shard(file, iter([]), fingerprint=of_rows)
    artifact.complete(places["predictions"], seconds=0)
    fingerprint = open_predictions(str(places["predictions"])).fingerprint
    for name, of in (("selection", fingerprint), ("other_selection", "def")):
        decision = run([to_table([])], config(), classes=CLASS_NAMES)
        decision = dataclasses.replace(decision, predictions=of)
        artifact.start_or_resume(places[name], {})
        path = places[name] / "selection.json"
        path.write_text(json.dumps(decision.to_json()))
        artifact.complete(places[name], seconds=0)


def make_dataset(directory):
    from classifier.data import tfrecord
    from pseudo_label.dataset import records

    artifact.start_or_resume(directory, {})
    records.write_metadata(
        str(directory),
        records.features(("a", "b"), top_k=2),
        shard_lengths=[1],
        num_bytes=0,
    )
    with (directory / records.shard_name(0, 1)).open("wb") as file:
        tfrecord.write_record(file, b"")
    artifact.complete(directory, seconds=0)


def check(case, places, status, output):
    assert status != 0
    for mention in case.mentions:
        assert mention.format(**places) in output
    assert "Traceback" not in output
    errors = [line for line in output.splitlines() if "rror" in line]
    assert len(errors) == 1, output
    assert not places["new"].exists()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_clear_line_and_nothing_made(case, places):
    module, *flags = (word.format(**places) for word in case.command)
    process = call(module, *flags)
    check(case, places, process.returncode, process.stdout + process.stderr)


#: Cases that also run in processes of their own: one of each way to end.
REAL = ("unknown flag", "preset nearly known", "no teacher", "Beam option", "report")


@pytest.mark.parametrize("name", REAL)
def test_the_process_exits_with_a_status(name, places):
    (case,) = (case for case in CASES if case.name == name)
    process = start(*(word.format(**places) for word in case.command))
    output, _ = process.communicate()
    assert process.returncode == 1
    check(case, places, process.returncode, output)
