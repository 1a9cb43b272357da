import dataclasses
import itertools
import shutil

import numpy as np
import pytest
import tensorflow as tf

from classifier.training import trainer
from pseudo_label.dataset import records
from pseudo_label.dataset.records import Record
from stage import artifact
from stage.tfds_directory import FRAME_BYTES
from student.training import mixture as training_mixture
from student.training.presets import student_of
from tests.conftest import CLASS_NAMES
from tests.images import random_images, write_folder

LABELS = [0, 1, 2, 0, 1, 2]


@pytest.fixture(scope="module")
def student_config(config):
    return dataclasses.replace(student_of(config), global_batch_size=8)


@pytest.fixture(scope="module")
def run(tmp_path_factory, student_config):
    root = tmp_path_factory.mktemp("labeled")
    write_folder(root, random_images(len(LABELS)), LABELS)
    spec = f"folder:{root}"
    sources = trainer.open_sources(labeled=spec, evaluation=spec)
    return trainer.open_run(student_config, sources)


def write_dataset(directory, last=None):
    """Writes nine pseudo-labels that are all surer of class 1 than of class 2.

    `last` are fields of the last record.
    """
    artifact.start_or_resume(directory, {"made": "up"})
    schema = records.features(CLASS_NAMES, top_k=2)
    path = directory / records.shard_name(0, 1)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for i, image in enumerate(random_images(9, seed=5)):
            content = Record(
                image=image,
                label=1,
                confidence=0.6,
                top_labels=[1, 2],
                top_probabilities=[0.6, 0.3],
                key=str(i),
                source="shard-00000",
                row=i,
                teacher="0123",
                round=1,
                copy=0,
            )
            changes = last if last and i == 8 else {}
            content = dataclasses.replace(content, **changes)
            writer.write(records.serialize(content))
    size = path.stat().st_size - 9 * FRAME_BYTES
    records.write_metadata(str(directory), schema, shard_lengths=[9], num_bytes=size)
    artifact.complete(directory, seconds=0)
    return directory


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("dataset") / "dataset")


def plan(run, config, dataset):
    opened = dataset and training_mixture.open_pseudo_labeled(
        str(dataset), run.class_names
    )
    return training_mixture.plan_batches(run, config, opened)


def take(run, config, dataset, count, start_step=0):
    make_batches = plan(run, config, dataset)
    batches = make_batches(start_step, 0)
    return list(itertools.islice(batches.as_numpy_iterator(), count))


def with_mixture(config, **changes):
    mixture = dataclasses.replace(config.mixture, **changes)
    return dataclasses.replace(config, mixture=mixture)


@pytest.fixture(scope="module")
def mixed(run, student_config, dataset):
    """The first five batches."""
    return take(run, student_config, dataset, 5)


@pytest.fixture(scope="module")
def mixed_in_groups(run, student_config, dataset):
    """The first batch, in two groups."""
    (batch,) = take(run, in_parts(student_config, groups=2), dataset, 1)
    return batch


def test_every_batch_has_the_same_share_of_labeled_images(mixed):
    for batch in mixed:
        assert batch["image"].shape == (8, 32, 32, 3)
        is_hard = np.isclose(batch["target"].max(-1), 0.9 + 0.1 / 3)
        assert is_hard.tolist() == [True] * 2 + [False] * 6


def in_parts(config, *, groups=1, shards=1):
    model = dataclasses.replace(config.model, batch_norm_groups=groups)
    return dataclasses.replace(config, model=model, input_shards=shards)


def test_every_group_of_a_batch_has_the_same_share(mixed, mixed_in_groups):
    is_hard = np.isclose(mixed_in_groups["target"].max(-1), 0.9 + 0.1 / 3)
    assert is_hard.tolist() == ([True] + [False] * 3) * 2
    # The same images, in another order.
    order = [0, 2, 3, 4, 1, 5, 6, 7]
    np.testing.assert_array_equal(mixed_in_groups["image"], mixed[0]["image"][order])


@pytest.mark.parametrize(("size", "groups"), [(8, 8), (1, 1)])
def test_parts_of_a_batch_that_cannot_hold_both_kinds_are_refused(
    run, student_config, dataset, size, groups
):
    config = dataclasses.replace(student_config, global_batch_size=size)
    with pytest.raises(ValueError, match=rf"global_batch_size.*\b{2 * groups}\b"):
        plan(run, in_parts(config, groups=groups), dataset)


@pytest.mark.parametrize(
    ("last", "words"),
    [
        ({"top_labels": [3, 1]}, "top_labels"),
        ({"top_labels": [1, -1]}, "top_labels"),
        ({"top_probabilities": [0.6, np.nan]}, "top_probabilities"),
        ({"top_probabilities": [0.0, 0.0]}, "top_probabilities"),
        ({"top_probabilities": [1.5, -0.5]}, "top_probabilities"),
        ({"top_probabilities": [0.9, 0.9]}, "top_probabilities"),
        ({"image": b"no image"}, "image"),
    ],
)
def test_a_record_that_cannot_be_learned_from_is_named(
    run, student_config, tmp_path, last, words
):
    opened = training_mixture.open_pseudo_labeled(
        str(write_dataset(tmp_path / "dataset", last)), run.class_names
    )
    training_mixture.check_records(opened, student_config, 3, count=8)
    with pytest.raises(ValueError, match=f"#8: {words} "):
        training_mixture.check_records(opened, student_config, 3)


def test_too_few_files_for_the_input_shards_are_refused(run, student_config, dataset):
    with pytest.raises(ValueError, match=r"\b2\b.*input_shards\b.*\b1\b"):
        plan(run, in_parts(student_config, shards=2), dataset)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("soft", [0.1, 0.6, 0.3]),
        ("sharpened", np.array([0.01, 0.36, 0.09]) / 0.46),
        ("hard", [0.1 / 3, 0.9 + 0.1 / 3, 0.1 / 3]),
    ],
)
def test_targets_by_kind(run, student_config, dataset, kind, expected):
    config = with_mixture(student_config, target_kind=kind)
    (batch,) = take(run, config, dataset, 1)
    np.testing.assert_allclose(
        batch["target"][2:], np.tile(expected, (6, 1)), rtol=1e-5
    )


def test_resuming_gives_the_batches_that_would_have_come(
    run, student_config, dataset, mixed
):
    resumed = take(run, student_config, dataset, 2, start_step=3)
    for expected, found in zip(mixed[3:], resumed, strict=True):
        np.testing.assert_array_equal(found["image"], expected["image"])
        np.testing.assert_array_equal(found["target"], expected["target"])


def test_the_control_has_batches_of_the_same_size_all_labeled(run, student_config):
    (batch,) = take(run, student_config, None, 1)
    assert batch["image"].shape == (8, 32, 32, 3)
    np.testing.assert_allclose(batch["target"].max(-1), 0.9 + 0.1 / 3, rtol=1e-6)


def test_other_pseudo_labels_are_another_parent(dataset, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(dataset, other)
    (other / artifact.CONFIG).write_text('{"made": "differently"}')
    parents = [
        training_mixture.open_pseudo_labeled(str(directory), CLASS_NAMES).fingerprint
        for directory in (dataset, other)
    ]
    assert parents[0] != parents[1]


def test_the_output_of_another_command_is_no_dataset(tmp_path):
    artifact.start_or_resume(tmp_path / "selection", {})
    artifact.complete(tmp_path / "selection", seconds=0.0)
    with pytest.raises(ValueError, match="expected the output of beam_jobs"):
        training_mixture.open_pseudo_labeled(str(tmp_path / "selection"), CLASS_NAMES)


def test_a_batch_marks_which_images_are_labeled(mixed, mixed_in_groups):
    for batch in (mixed[0], mixed_in_groups):
        is_hard = np.isclose(batch["target"].max(-1), 0.9 + 0.1 / 3)
        np.testing.assert_array_equal(batch["mask/labeled"], is_hard)
        np.testing.assert_array_equal(batch["mask/pseudo_labeled"], ~is_hard)
