"""How the flags reach the run; training is tested in classifier/training."""

import json

import pytest

from classifier.training import trainer
from stage import artifact
from tests.commands import call
from tests.images import random_images, write_folder
from tests.student.evaluation.test_comparison import (
    NUM_RECORDS,
    SHARDS,
    write_dataset,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Directory of labeled images, and of a dataset of pseudo-labeled ones."""
    root = tmp_path_factory.mktemp("data")
    write_folder(root / "labeled", random_images(9), [0, 1, 2] * 3)
    write_dataset(root / "dataset", SHARDS)
    return root


@pytest.fixture
def trained(monkeypatch):
    """The runs that would be trained, without training them."""
    runs = []
    monkeypatch.setattr(trainer, "train", lambda *run, **_: runs.append(run))
    return runs


def train(data, workdir, *flags):
    return call(
        "student.train",
        *(f"--labeled=folder:{data}/labeled", f"--evaluation=folder:{data}/labeled"),
        *(f"--workdir={workdir}", "--set=model.width_multiplier=0.0625"),
        *("--set=global_batch_size=4", *flags),
    )


def read_config(workdir):
    return json.loads((workdir / artifact.CONFIG).read_text())


def test_the_control_differs_in_the_images_alone(data, trained, tmp_path):
    flags = (f"--pseudo_labeled={data}/dataset", "--seed=5")
    for name, more in (("student", ()), ("control", ("--control",))):
        process = train(data, tmp_path / name, *flags, *more)
        assert process.returncode == 0, process.stderr
    student, control = (read_config(tmp_path / name) for name in ("student", "control"))
    assert student["sizes"] == {"labeled": 9, "pseudo_labeled": NUM_RECORDS}
    assert student["config"]["seed"] == 5
    assert student.pop("pseudo_labeled") is not None
    assert control.pop("pseudo_labeled") is None
    assert student == control
    assert len(trained) == 2


def test_without_pseudo_labels_it_trains_on_the_labels(data, trained, tmp_path):
    process = train(data, tmp_path / "student")
    assert process.returncode == 0, process.stderr
    config = read_config(tmp_path / "student")
    assert config["sizes"] == {"labeled": 9, "pseudo_labeled": 0}
    assert config["pseudo_labeled"] is None
    artifact.complete(tmp_path / "student", seconds=0.0)
    assert "already complete" in train(data, tmp_path / "student").stdout
    assert len(trained) == 1


def test_a_control_needs_pseudo_labels(data, tmp_path):
    process = train(data, tmp_path / "control", "--control")
    assert process.returncode == 1
    assert "--pseudo_labeled" in process.stderr
    assert not (tmp_path / "control").exists()
