import dataclasses
import json

import pytest

from benchmarks.methods import training
from benchmarks.methods.cost import Batch
from benchmarks.methods.training import Task, Training
from tests.benchmarks.methods.made import DRAW

NETWORK = 1_000
#: A multiply-add more than ten steps of 32 images, or of 8 + 24 with as many views.
SUPERVISED, CONSISTENT = 10 * 96 * NETWORK + 1, 10 * 120 * NETWORK + 1
WITH_UNLABELED = Training(batch=Batch(labeled=8, unlabeled=24))


@pytest.fixture
def commands(monkeypatch):
    """Returns the commands that were called, as a module and a list of flags."""
    called = []

    def call(module, *flags, log):
        called.append((module, flags))
        (workdir,) = (flag[10:] for flag in flags if flag.startswith("--workdir="))
        path = log.parent / "classifier" / training.CLASSIFIER
        assert str(path.parent) == workdir
        path.parent.mkdir(parents=True)
        found = {"evaluation": {"top1": 0.25}, "multiply_adds": 12345}
        path.write_text(json.dumps(found))

    monkeypatch.setattr(training, "call", call)
    monkeypatch.setattr(training, "count_network", lambda *_: NETWORK)
    return called


@pytest.fixture
def task(tmp_path):
    draw = dataclasses.replace(
        DRAW,
        labeled="folder:labeled",
        evaluation="folder:test",
        images="folder:all",
        exclude=("folder:test", "folder:labeled"),
    )
    settings = ("consistency.max_shift=0.1", "image.size=48")
    return Task(draw=draw, budget=1, seed=3, workdir=tmp_path, settings=settings)


def test_a_supervised_training_has_the_labeled_images_alone(commands, task):
    found = training.train(task, "classifier", Training(), SUPERVISED, number=2)
    ((module, flags),) = commands
    assert module == "teacher.train"
    assert set(flags) == {
        "--preset=tiny",
        "--labeled=folder:labeled",
        "--evaluation=folder:test",
        f"--workdir={task.workdir / 'classifier'}",
        "--seed=32",
        "--set=global_batch_size=32",
        "--set=image.size=48",
        "--set=num_steps=10",
        "--set=optimizer.warmup_steps=1",
        "--set=evaluate_every=10",
        "--set=checkpoint_every=10",
    }
    assert (found.accuracy, found.multiply_adds) == (0.25, 12345)
    assert found.directory == task.workdir / "classifier"


def test_a_classifier_may_be_uncounted(tmp_path):
    content = {"evaluation": {"num_examples": 4, "top1": 0.75}, "temperature": 1.0}
    (tmp_path / training.CLASSIFIER).write_text(json.dumps(content))
    found = training.read_figures(tmp_path)
    assert (found.evaluation.top1, found.multiply_adds) == (0.75, 0)


def test_consistency_training_leaves_out_what_is_excluded(commands, task):
    training.train(task, "classifier", WITH_UNLABELED, CONSISTENT)
    ((module, flags),) = commands
    assert module == "teacher.train"
    assert {
        "--unlabeled=folder:all",
        "--exclude=folder:test",
        "--exclude=folder:labeled",
        "--set=global_batch_size=32",
        "--set=consistency.unlabeled_ratio=3",
        "--set=consistency.max_shift=0.1",
        "--set=image.size=48",
        "--set=num_steps=10",
    } <= set(flags)


def test_a_student_has_the_dataset(commands, task):
    dataset = task.workdir / "dataset"
    training.train(task, "classifier", Training(), SUPERVISED, pseudo_labeled=dataset)
    ((module, flags),) = commands
    assert module == "student.train"
    assert f"--pseudo_labeled={dataset}" in flags
    assert not any(flag.startswith("--set=consistency.") for flag in flags)


def test_true_labels_take_the_place_of_the_labeled_images(commands, task):
    training.train(task, "classifier", Training(), SUPERVISED, labeled="folder:truth")
    ((_, flags),) = commands
    assert "--labeled=folder:truth" in flags
    assert "--labeled=folder:labeled" not in flags
