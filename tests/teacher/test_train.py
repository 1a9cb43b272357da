"""How the flags reach the run; training is tested in classifier/training."""

import json

import pytest

from classifier.training import trainer
from stage import artifact
from tests.commands import call
from tests.images import random_images, write_folder

SMALL = ("--set=model.width_multiplier=0.0625", "--set=global_batch_size=4")


@pytest.fixture(scope="module")
def labeled(tmp_path_factory):
    directory = tmp_path_factory.mktemp("labeled")
    write_folder(directory, random_images(9), [0, 1, 2] * 3)
    return f"folder:{directory}"


@pytest.fixture
def trained(monkeypatch):
    """The runs that would be trained, without training them."""
    runs = []
    monkeypatch.setattr(
        trainer, "train", lambda *arguments, **_: runs.append(arguments)
    )
    return runs


def train(labeled, workdir, *flags):
    return call(
        "teacher.train",
        *(f"--labeled={labeled}", f"--evaluation={labeled}", f"--workdir={workdir}"),
        *SMALL,
        *flags,
    )


def test_the_flags_decide_the_run(labeled, trained, tmp_path):
    process = train(labeled, tmp_path / "teacher", "--seed=7", "--set=num_steps=70")
    assert process.returncode == 0, process.stderr
    ((run, make_batches, context),) = trained
    assert run.config.seed == 7
    assert run.config.num_steps == 70
    assert run.config.model.width_multiplier == 0.0625
    assert make_batches == run.labeled_batches
    assert context.workdir == str(tmp_path / "teacher")
    assert not context.profile
    config = json.loads((tmp_path / "teacher" / artifact.CONFIG).read_text())
    assert config["config"]["seed"] == 7


def test_a_fold_is_left_out(labeled, trained, tmp_path):
    process = train(labeled, tmp_path / "teacher", "--folds=3", "--fold=1", "--profile")
    assert process.returncode == 0, process.stderr
    ((run, _, context),) = trained
    assert run.labeled.num_examples == 6
    assert run.left_out["fold"] == 1
    assert context.profile


def test_a_complete_classifier_is_not_trained_again(labeled, trained, tmp_path):
    workdir = tmp_path / "teacher"
    assert train(labeled, workdir).returncode == 0
    artifact.complete(workdir, seconds=0.0)
    process = train(labeled, workdir)
    assert process.returncode == 0
    assert "already complete" in process.stdout
    assert len(trained) == 1
    process = train(labeled, workdir, "--seed=1")
    assert process.returncode == 1
    assert "seed" in process.stderr


@pytest.mark.parametrize(
    ("flags", "is_used"),
    [
        ((), True),
        (("--consistency=auto",), True),
        (("--consistency=off",), False),
    ],
)
def test_unlabeled_images_are_learned_from_by_the_rule(
    labeled, trained, tmp_path, flags, is_used
):
    unlabeled = f"--unlabeled={labeled}"
    process = train(labeled, tmp_path / "teacher", unlabeled, *flags)
    assert process.returncode == 0, process.stderr
    ((run, make_batches, _),) = trained
    assert (run.unlabeled is not None) == is_used
    assert (make_batches == run.labeled_batches) != is_used
    assert "9 unlabeled images" in process.stdout
    assert run.config.label_smoothing == (0.0 if is_used else 0.1)
    # As many passes: 4 images pass three times, and the views of 3 once.
    assert run.config.num_steps == (640 if is_used else 800)


def test_consistency_needs_images(labeled, tmp_path):
    process = train(labeled, tmp_path / "teacher", "--consistency=off")
    assert process.returncode == 1
    assert "--unlabeled" in process.stderr
