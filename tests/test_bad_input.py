"""What a user can get wrong: one clear line, before any work."""

import concurrent.futures
import dataclasses
import json

import h5py
import numpy as np
import pytest

from stage import artifact
from tests.commands import start
from tests.conftest import CLASS_NAMES, export
from tests.images import random_images, write_folder, write_records

LABELS = [0, 1, 2]


@dataclasses.dataclass(frozen=True)
class Case:
    """A command line and what its error must say; {NAME} is a path of `places`."""

    name: str
    command: tuple[str, ...]
    message: str


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
    Case("unknown flag", (*TRAIN, "--preset_=x"), "Unknown command line flag"),
    Case("unknown preset", (*TRAIN, "--preset=huge"), "unknown preset 'huge'"),
    Case(
        "preset nearly known",
        (*TRAIN, "--preset=resnetrs_50_160"),
        "nearest is 'resnet_rs_50_160'",
    ),
    Case(
        "depth", (*TRAIN, "--preset=resnet_rs_51"), "depth 14, 17 and so on up to 420"
    ),
    Case(
        "resolution",
        (*TRAIN, "--preset=resnet_rs_420_8"),
        "image.size must be at least 32, got 8",
    ),
    Case(
        "student's preset",
        (*STUDENT, "--preset=resnet_rs_152x224"),
        "nearest is 'resnet_rs_152_224'",
    ),
    Case(
        "model",
        (*TRAIN, "--set=model.name=efficientv2b0"),
        "nearest is 'EfficientNetV2B0'",
    ),
    Case(
        "image too small for the network",
        (*TRAIN, "--set=model.name=InceptionV3"),
        "cannot build InceptionV3: Input size must be at least 75x75",
    ),
    Case(
        "averages",
        (*TRAIN, "--set=optimizer.ema_decay=0.0"),
        "expected one of model.batch_norm_momentum and optimizer.ema_decay",
    ),
    Case(
        "one class",
        (*TRAIN, "--labeled=folder:{one_class}", "--evaluation=folder:{one_class}"),
        "expected at least 2 classes, got 1",
    ),
    Case(
        "weights of other classes",
        (*TRAIN, "--init_from={other_teacher}", *SMALL),
        "expected 2 classes, got 3; --new_head starts a fresh one",
    ),
    Case(
        "weights of another width",
        (*TRAIN, "--init_from={teacher}"),
        "expected stem_0_conv/kernel of shape (3, 3, 3, 8), got (3, 3, 3, 2)",
    ),
    Case(
        "weights of another network",
        (*STUDENT, "--init_from=resnet_rs_h5:{other_weights}"),
        "expected stem_0_conv/kernel of shape (3, 3, 3, 8), got none",
    ),
    Case(
        "no weights",
        (*TRAIN, "--init_from=resnet_rs_h5:{file}"),
        "is no HDF5 file of weights",
    ),
    Case("missing weights", (*TRAIN, "--init_from=/no/such"), "no directory"),
    Case("new head of nothing", (*TRAIN, "--new_head"), "--new_head needs --init_from"),
    Case(
        "summary",
        ("classifier.summary", "--preset=resnet_rs_50_160", "--scale=99"),
        "expected a ResNet-RS of depth",
    ),
    Case("control of no size", (*STUDENT, "--control"), "--control needs --pseudo_lab"),
    Case(
        "frozen stages",
        (*TRAIN, "--set=frozen_stages=5"),
        "frozen_stages must be in 0..4, got 5",
    ),
    Case(
        "no student to go on with",
        (
            *("student.fix_resolution", "--student=/no/such", "--workdir={new}"),
            *("--labeled=folder:{labeled}", "--evaluation=folder:{labeled}"),
        ),
        "student: no directory '/no/such'",
    ),
    Case(
        "student of other classes",
        (
            *("student.evaluate", "--student={other_teacher}", "--output={new}"),
            "--evaluation=folder:{labeled}",
        ),
        "expected 2 classes, got 3",
    ),
    Case(
        "nothing to predict",
        ("classifier.predict", "--classifier={teacher}"),
        "expected images: files, or directories of them",
    ),
    Case(
        "format of an export",
        ("classifier.export_model", "--classifier={teacher}", "--output={new}.tflite"),
        "expected a name that ends in .keras or .onnx",
    ),
    Case(
        "more images than excluded sets",
        (
            *("workflow.sample_images", "--images=tfrecord:{records}", *INPUTS),
            *("--output={new}", "--exclude_images=folder:{labeled}"),
        ),
        "as many --exclude_images as --exclude",
    ),
    Case(
        "rounds of nothing",
        ("workflow.rounds", "--run={new}"),
        "of a teacher and its student",
    ),
    Case("missing flag", TRAIN[:2], "--evaluation must have a value"),
    Case("word behind flags", (*TRAIN, "now"), "expected flags only, got 'now'"),
    Case("setting", (*TRAIN, "--set=num_step=3"), "nearest is 'num_steps'"),
    Case("value", (*TRAIN, "--set=num_steps=x"), "num_steps is of type int, got 'x'"),
    Case("warm-up", (*TRAIN, "--set=num_steps=9"), "must be below num_steps (9)"),
    Case("source", (*TRAIN, "--labeled=photos"), "expected a source as tfds:NAME"),
    Case("missing path", (*TRAIN, "--labeled=folder:/no/such"), "no folder '/no/such'"),
    Case(
        "unlabeled images to learn from",
        (*TRAIN, "--labeled=tfrecord:{records}"),
        "expected labeled images",
    ),
    Case(
        "class lists",
        (*TRAIN, "--evaluation=folder:{two_classes}"),
        "expected 3 classes, got 2",
    ),
    Case(
        "image that cannot be decoded",
        (*TRAIN, "--labeled=folder:{bad_image}"),
        "a/note.txt: cannot be decoded",
    ),
    Case(
        "folds without a fold",
        (*TRAIN, "--folds=3"),
        "--folds and --fold go together, got --folds=3 and no --fold",
    ),
    Case("fold", (*TRAIN, "--folds=3", "--fold=3"), "fold must be in 0..2, got 3"),
    Case(
        "folds of one image a class",
        (*TRAIN, "--folds=2", "--fold=0"),
        "expected two or more images of each class, or no --folds, got one of 'a'",
    ),
    Case("nothing to calibrate on", CALIBRATE, "one of --held_out and --out_of_fold"),
    Case(
        "folds that no teacher left out",
        (*CALIBRATE, "--out_of_fold=folder:{labeled}"),
        "has left out no fold",
    ),
    Case(
        "calibration on images of other classes",
        (*CALIBRATE, "--held_out=folder:{two_classes}"),
        "expected 3 classes, got 2",
    ),
    Case(
        "no calibration",
        (*LABEL, "--teacher={teacher}", "--calibration={teacher}"),
        "is no calibration: no calibration.json in it",
    ),
    Case("unwritable", (*TRAIN, "--workdir={file}/x"), "cannot write to"),
    Case("occupied", (*TRAIN, "--workdir={labeled}"), "is not empty and was not made"),
    Case("no such teacher", (*LABEL, "--teacher=/no/such"), "no directory '/no/such'"),
    Case("no teacher", (*LABEL, "--teacher={labeled}"), "is not complete"),
    Case(
        "teachers of other classes",
        (*LABEL, "--teacher={teacher}", "--teacher={other_teacher}"),
        "expected 3 classes, got 2",
    ),
    Case(
        "teacher of other classes than the images",
        (
            "teacher.evaluate",
            "--teacher={other_teacher}",
            "--evaluation=folder:{labeled}",
            "--output={new}",
        ),
        "expected 2 classes, got 3",
    ),
    Case(
        "Beam option",
        (*LABEL, "--teacher={teacher}", "--", "--runer=FnApiRunner"),
        "Beam has no option --runer",
    ),
    Case(
        "Beam option in front",
        (*LABEL, "--teacher={teacher}", "--runner=FnApiRunner"),
        "Unknown command line flag 'runner'",
    ),
    Case(
        "threshold",
        (*SELECT, "--predictions={predictions}", "--confidence_threshold=1.5"),
        "confidence_threshold must be in [0, 1], got 1.5",
    ),
    Case(
        "negative quota",
        (*SELECT, "--predictions={predictions}", "--images_per_class=-1"),
        "--images_per_class",
    ),
    Case("no predictions", (*SELECT, "--predictions={teacher}"), "no predictions"),
    Case(
        "selection of other predictions",
        (*WRITE, "--predictions={predictions}", "--selection={other_selection}"),
        "was selected from other predictions",
    ),
    Case(
        "images that were not labeled",
        (*WRITE, *INPUTS, "--images=folder:{labeled}"),
        "is not what",
    ),
    Case("pseudo-labels", (*STUDENT, "--pseudo_labeled=/no/such"), "no directory"),
    Case(
        "pseudo-labels of nothing",
        (*STUDENT, "--pseudo_labeled={teacher}"),
        "is no TFDS dataset",
    ),
    Case(
        "pseudo-labels of other classes",
        (*STUDENT, "--pseudo_labeled={other_dataset}"),
        "expected 3 classes, got 2",
    ),
    Case("report", ("workflow.report", "--run={labeled}"), "is not complete"),
]


@pytest.fixture(scope="module")
def places(tmp_path_factory, config):
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
    export(places["teacher"], config, seed=1)
    export(places["other_teacher"], config, seed=1, class_names=("a", "b"))
    make_predictions(places)
    make_dataset(places["other_dataset"])
    return places


def make_predictions(places):
    """Empty predictions and two selections, only one of which is of them."""
    from classifier.data.sources import open_source
    from pseudo_label.predictions import schema as prediction_schema
    from tests.pseudo_label.selection.selections import config, run, to_table

    job = {
        "images": open_source(f"tfrecord:{places['records']}").describe(),
        "teachers": ["abc"],
        "class_names": CLASS_NAMES,
        "top_k": 3,
    }
    fingerprint = artifact.config_fingerprint(job)
    artifact.start_or_resume(places["predictions"], job)
    with (places["predictions"] / prediction_schema.shard_name(0)).open("wb") as file:
        of_rows = artifact.config_fingerprint(job, leaving_out="images")
        prediction_schema.write_shard(file, iter([]), fingerprint=of_rows)
    artifact.complete(places["predictions"], seconds=0)
    for name, of in (("selection", fingerprint), ("other_selection", "def")):
        decision = run([to_table([])], config(), classes=CLASS_NAMES)
        decision = dataclasses.replace(decision, predictions=of)
        artifact.start_or_resume(places[name], {})
        path = places[name] / "selection.json"
        path.write_text(json.dumps(decision.to_json()))
        artifact.complete(places[name], seconds=0)


def make_dataset(directory):
    from pseudo_label.dataset import records

    artifact.start_or_resume(directory, {})
    records.write_metadata(
        str(directory),
        records.features(("a", "b"), top_k=2),
        shard_lengths=[0],
        num_bytes=0,
    )
    (directory / records.shard_name(0, 1)).touch()
    artifact.complete(directory, seconds=0)


@pytest.fixture(scope="module")
def results(places):
    """Exit status and output of every case; two run at a time."""

    def run(case):
        process = start(*(word.format(**places) for word in case.command))
        output, _ = process.communicate()
        return process.returncode, output

    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        return dict(zip([c.name for c in CASES], pool.map(run, CASES), strict=True))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_clear_line_and_nothing_made(case, results, places):
    status, output = results[case.name]
    assert status != 0
    assert case.message in output
    assert "Traceback" not in output
    errors = [line for line in output.splitlines() if "rror" in line]
    assert len(errors) == 1, output
    assert not places["new"].exists()
