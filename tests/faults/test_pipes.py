"""Pipes and devices in the place of files: reading one of them would never end."""

import os
import shutil

import pytest

from classifier.data import shard_manifest
from classifier.data.sources import open_source
from classifier.training import initial_weights, presets
from pseudo_label.predictions.prediction_set import open_predictions
from pseudo_label.selection.decision import open_selection
from stage import artifact, tfds_directory
from student.training import mixture
from tests import chain
from tests.commands import call
from tests.faults import endings, page
from tests.images import random_images, write_folder, write_tfds
from tests.workflow.report import runs
from workflow.report import write_report

#: Files of a classifier, without those of JSON.
FILES = (
    *("model.keras", "export/saved_model.pb", "export/variables/variables.index"),
    *("export/variables/variables.data-00000-of-00001", "COMPLETED"),
)


def replace(path, how):
    """Puts a pipe, or a link to a device, in place of a file."""
    path.unlink()
    if how == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")


def open_dataset(directory):
    return mixture.open_pseudo_labeled(str(directory), chain.CLASS_NAMES)


def refused(fault, path, read):
    assert fault.end == endings.REFUSED
    with pytest.raises(ValueError) as error:
        read()
    assert str(path) in str(error.value)
    fault.check(str(error.value))


@page.holds("named pipe or device in place of a classifier's file")
@pytest.mark.parametrize("how", ["pipe", "device"])
@pytest.mark.parametrize("file", FILES)
def test_a_file_of_a_classifier(fault, place, file, how):
    replace(place.teacher / file, how)
    place.refused(fault)
    write_folder(place.root / "labeled", random_images(3), [0, 1, 2])
    labeled = f"folder:{place.root}/labeled"
    output = f"--output={place.root}/made"
    classifier = f"--classifier={place.teacher}"
    for module, *flags in (
        ("classifier.predict", classifier, place.root / "in"),
        ("classifier.export_model", classifier, f"{output}.keras"),
        ("teacher.evaluate", f"--teacher={place.teacher}", output),
        ("student.evaluate", f"--student={place.teacher}", output),
        (
            "teacher.train",
            *(f"--labeled={labeled}", f"--workdir={place.root}/made"),
            *(f"--init_from={place.teacher}", "--set=model.width_multiplier=0.0625"),
        ),
    ):
        if "classifier" not in module:
            flags.append(f"--evaluation={labeled}")
        ended = call(module, *flags)
        assert ended.returncode == 1, module
        assert ended.stderr.count("\n") == 1, ended.stderr
        fault.check(ended.stderr)
        assert not (place.root / "made").exists()


@page.holds("named pipe or device in place of another artifact's file")
@pytest.mark.parametrize("how", ["pipe", "device"])
def test_a_file_of_another_artifact(fault, tmp_path, how):
    made = chain.make(tmp_path)
    made.write()
    predictions = open_predictions(made.predictions)
    for directory, read in (
        (made.predictions, lambda: open_predictions(made.predictions)),
        (made.selection, lambda: open_selection(made.selection, predictions)),
        (made.dataset, lambda: open_dataset(made.dataset)),
    ):
        for name in os.listdir(directory):
            path = tmp_path / directory / name
            kept = shutil.move(path, tmp_path / "kept")
            path.touch()
            replace(path, how)
            refused(fault, path, read)
            path.unlink()
            shutil.move(kept, path)


@page.holds("named pipe in place of a file of what a command resumes")
def test_a_file_of_what_is_resumed(fault, tmp_path):
    artifact.start_or_resume(tmp_path, {"a": 1})
    (tmp_path / "checkpoints").mkdir()
    os.mkfifo(tmp_path / "checkpoints" / "step-00000001.npz")
    refused(
        fault,
        tmp_path / "checkpoints" / "step-00000001.npz",
        lambda: artifact.start_or_resume(tmp_path, {"a": 1}),
    )
    write_folder(tmp_path / "in", random_images(1))
    os.mkfifo(tmp_path / "shards.list")
    source = open_source(f"folder:{tmp_path}/in")
    refused(
        fault,
        tmp_path,
        lambda: shard_manifest.match(source, tmp_path, allow_new_shards=False),
    )


@page.holds("named pipe in place of a file of a run")
def test_a_file_of_a_run(fault, tmp_path):
    run = runs.make(tmp_path, runs.Plan(class_names=runs.NAMES, images=30, tiles=1))
    path = run / "round-1" / "evaluation" / "evaluation.parquet"
    replace(path, "pipe")
    refused(fault, path, lambda: write_report.report_on(run))


@page.holds("named pipe in place of a file of a TFDS dataset")
def test_a_file_of_a_tfds_dataset(fault, tmp_path):
    path = write_tfds(tmp_path / "own" / "1.0.0", {"image": random_images(3)}, [0] * 3)
    replace(path / "features.json", "pipe")
    refused(fault, path, lambda: tfds_directory.open_builder(str(path)))
    refused(fault, path, lambda: tfds_directory.find_builder("own", str(tmp_path)))


@page.holds("named pipe in place of a weights file")
def test_a_weights_file(fault, tmp_path):
    path = tmp_path / "weights.h5"
    os.mkfifo(path)
    spec = f"resnet_rs_h5:{path}"
    refused(
        fault,
        path,
        lambda: initial_weights.open_for(presets.tiny(), spec, fixed=()),
    )
