import dataclasses
import itertools
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from classifier.data import preprocessing
from classifier.data.folds import Fold
from classifier.data.python_reader import read_examples
from classifier.training import trainer
from stage import artifact
from tests.classifier.training.fakes import FakeBackend, run_context
from tests.images import FORMS, open_labeled, random_images, write_folder

LABELS = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1]
NUM_FOLDS = 3


@pytest.fixture(scope="module")
def images():
    return random_images(len(LABELS))


@pytest.fixture(scope="module", params=FORMS)
def source(request, tmp_path_factory, images):
    root = tmp_path_factory.mktemp(request.param)
    return open_labeled(request.param, root, images, LABELS)


@pytest.fixture
def run(source, config):
    config = dataclasses.replace(
        config, augment=dataclasses.replace(config.augment, num_ops=0)
    )
    return trainer.TrainingRun(
        config=config,
        labeled=source,
        evaluation=source,
        class_names=("a", "b", "c"),
        model=None,
        initial_weights=None,
    )


def batches(run, count, start_step=0):
    dataset = run.labeled_batches(start_step, shard=0)
    return list(itertools.islice(dataset.as_numpy_iterator(), count))


def prepared(source, config):
    return {
        preprocessing.evaluation_image(example.image, config.image).numpy().tobytes()
        for example in read_examples(source.reader, source.files)
    }


def test_an_epoch_holds_all_images_but_those_of_the_fold_once(run):
    left = trainer.leave_out(run, Fold(folds=NUM_FOLDS, fold=1))
    size = left.labeled.num_examples
    seen = [
        image.tobytes() for batch in batches(left, size) for image in batch["image"]
    ]
    expected = prepared(left.labeled, run.config)
    assert len(expected) == size
    assert expected < prepared(run.labeled, run.config)
    for start in range(0, 4 * size, size):
        assert set(seen[start : start + size]) == expected


@pytest.mark.parametrize("start_step", [1, 2, 5])
def test_resuming_gives_the_batches_that_would_have_come(run, start_step):
    left = trainer.leave_out(run, Fold(folds=NUM_FOLDS, fold=0))
    whole, resumed = batches(left, 7), batches(left, 7 - start_step, start_step)
    for first, second in zip(resumed, whole[start_step:], strict=True):
        np.testing.assert_array_equal(first["image"], second["image"])
        np.testing.assert_array_equal(first["target"], second["target"])


def test_no_state_keeps_the_stream_on_one_thread(run):
    left = trainer.leave_out(run, Fold(folds=NUM_FOLDS, fold=0))
    graph = tf.compat.v1.GraphDef()
    graph.ParseFromString(left.labeled_batches(0, 0)._as_serialized_graph().numpy())
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    found = {node.op for node in nodes}
    # A tar file is read in Python, which keeps its stream on one thread in any case.
    states = {"ShuffleDatasetV2", "ShuffleDatasetV3", "TensorDataset"}
    assert "PyFunc" in found or not found & states


def open_folder(path, config):
    sources = trainer.open_sources(
        labeled=f"folder:{path}", evaluation=f"folder:{path}"
    )
    return trainer.open_run(config, sources)


def test_images_of_a_folder_that_are_left_out_are_not_opened(tmp_path, images, config):
    write_folder(tmp_path, images, LABELS)
    run = open_folder(tmp_path, config)
    left = trainer.leave_out(run, Fold(folds=2, fold=1))
    kept = {file.path for file in left.labeled.files}
    for file in run.labeled.files:
        if file.path not in kept:
            pathlib.Path(file.path).unlink()
    assert len(kept) == 6
    assert len(batches(left, 6)) == 6


def test_what_was_left_out_stands_in_the_config(run):
    left = trainer.leave_out(run, Fold(folds=NUM_FOLDS, fold=2))
    described = run.labeled.describe()
    assert left.describe()["left_out"] == {
        "folds": NUM_FOLDS,
        "fold": 2,
        "labeled": described,
    }
    assert left.describe()["labeled"] != described == run.describe()["labeled"]
    assert run.describe()["left_out"] is None


def test_all_labeled_images_are_in_the_ledger_whatever_is_left_out(
    tmp_path, images, config
):
    write_folder(tmp_path, images, LABELS)
    run = open_folder(tmp_path, config)
    left = trainer.leave_out(run, Fold(folds=2, fold=1))
    assert left.ledger == run.ledger == (run.labeled.origin(),)


def test_enough_files_must_be_left_for_the_input_shards(tmp_path, images, config):
    write_folder(tmp_path, images[:4], [0, 0, 1, 1])
    config = dataclasses.replace(config, input_shards=4, global_batch_size=8)
    run = open_folder(tmp_path, config)
    with pytest.raises(ValueError, match=r"\b4\b"):
        trainer.leave_out(run, Fold(folds=2, fold=0))


def test_sources_must_have_the_same_classes(tmp_path, images):
    write_folder(tmp_path / "three", images, LABELS)
    write_folder(tmp_path / "two", images[:2], [0, 1])
    write_folder(tmp_path / "none", images[:2])
    labeled, evaluation, unlabeled = (
        f"folder:{tmp_path / name}" for name in ("three", "two", "none")
    )
    for first, second in ((labeled, evaluation), (evaluation, labeled)):
        with pytest.raises(ValueError, match=r"\b[23]\b.*\b[32]\b"):
            trainer.open_sources(labeled=first, evaluation=second)
    with pytest.raises(ValueError, match=unlabeled):
        trainer.open_sources(labeled=labeled, evaluation=unlabeled)
    sources = trainer.open_sources(labeled=labeled, evaluation=labeled)
    assert sources.class_names == ("a", "b", "c")


def test_a_run_checks_what_it_is_given(tmp_path, images, config):
    write_folder(tmp_path / "good", images, LABELS)
    write_folder(tmp_path / "bad", [*images[:-1], b"text"], LABELS)
    good, bad = (f"folder:{tmp_path / name}" for name in ("good", "bad"))
    sources = trainer.open_sources(labeled=good, evaluation=good)
    with pytest.raises(ValueError, match=r"--new_head\b.*--init_from"):
        trainer.open_run(config, sources, new_head=True)
    many = dataclasses.replace(config, input_shards=12, global_batch_size=12)
    with pytest.raises(ValueError, match=r"\b12\b.*input_shards\b.*\b11\b"):
        trainer.open_run(many, sources)
    sources = trainer.open_sources(labeled=good, evaluation=bad)
    with pytest.raises(ValueError, match=r"b/00010\.png"):
        trainer.open_run(config, sources)


def test_a_label_outside_the_classes_stops_the_pipeline(config):
    make_target = trainer.hard_targets(config, num_classes=3)
    target = make_target({"label": tf.constant(1, tf.int64)})
    np.testing.assert_allclose(target, [0.1 / 3, 0.9 + 0.1 / 3, 0.1 / 3], rtol=1e-6)
    for label in (-1, 3):
        with pytest.raises(tf.errors.InvalidArgumentError):
            make_target({"label": tf.constant(label, tf.int64)})


class BlindBackend(FakeBackend):
    """Predicts class 0 for every image."""

    def predict(self, images):
        return np.eye(3)[np.zeros(len(images), int)]


@pytest.fixture
def exports(monkeypatch):
    """Replaces backend and export; collects the arguments of `export_run`."""
    calls = []
    monkeypatch.setattr(trainer, "_open_backend", lambda *_: BlindBackend())
    monkeypatch.setattr(
        trainer, "export_run", lambda *arguments: calls.append(arguments)
    )
    # Would hold for the rest of the test process.
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: None)
    return calls


def train(run, workdir):
    artifact.start_or_resume(workdir, run.describe())
    context, lines = run_context(workdir)
    trainer.train(run, run.labeled_batches, context)
    return lines


def test_a_run_is_evaluated_and_exported(exports, tmp_path, images, config):
    write_folder(tmp_path / "images", images, LABELS)
    lines = train(open_folder(tmp_path / "images", config), tmp_path / "run")
    ((workdir, evaluation),) = exports
    assert workdir == tmp_path / "run"
    assert (evaluation.num_examples, evaluation.num_correct) == (11, LABELS.count(0))
    assert lines[0].startswith("warning: 11 of 11 images")  # They are the same.
    assert f"{config.num_steps} steps" in lines[2]


def test_a_bad_image_met_while_training_is_named(exports, tmp_path, images, config):
    write_folder(tmp_path / "images", images, LABELS)
    run = open_folder(tmp_path / "images", config)
    (tmp_path / "images" / "b" / "00004.png").write_bytes(b"text")
    with pytest.raises(ValueError, match=r"b/00004\.png"):
        train(run, tmp_path / "run")
    assert exports == []
