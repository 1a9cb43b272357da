import collections
import dataclasses
import itertools
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from classifier.data import preprocessing
from classifier.data.sources import open_source
from classifier.training import input_pipeline, trainer
from classifier.training.config import TrainConfig
from tests.images import random_images, write_folder, write_records

NUM_CLASSES = 3
LABELS = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1]


@pytest.fixture(scope="module")
def images():
    return random_images(len(LABELS))


@pytest.fixture(scope="module", params=["folder", "tfrecord"])
def source(request, tmp_path_factory, images):
    root = tmp_path_factory.mktemp("labeled")
    if request.param == "folder":
        write_folder(root, images, LABELS)
        return open_source(f"folder:{root}")
    write_records(root / "part-0", images[:6], LABELS[:6])
    write_records(root / "part-1", images[6:], LABELS[6:])
    (root / "names.txt").write_text("a\nb\nc\n")
    return open_source(
        f"tfrecord:{root}/part-*", class_names_file=str(root / "names.txt")
    )


def batches(source, config, count, **kwargs):
    dataset = input_pipeline.training_batches(
        source,
        config,
        batch_size=4,
        make_target=trainer.hard_targets(config, num_classes=NUM_CLASSES),
        **kwargs,
    )
    return list(itertools.islice(dataset.as_numpy_iterator(), count))


def assert_same(first, second):
    for left, right in zip(first, second, strict=True):
        np.testing.assert_array_equal(left["image"], right["image"])
        np.testing.assert_array_equal(left["target"], right["target"])


def test_shapes_and_types_are_static(source, config):
    (batch,) = batches(source, config, 1)
    assert batch["image"].shape == (4, 32, 32, 3)
    assert batch["image"].dtype == np.uint8
    assert batch["target"].shape == (4, NUM_CLASSES)
    np.testing.assert_allclose(batch["target"].sum(-1), 1.0, rtol=1e-6)


@pytest.mark.parametrize("start_step", [1, 2, 3, 7])
def test_resuming_gives_the_batches_that_would_have_come(source, config, start_step):
    """Also across the end of an epoch: 11 images are 2.75 batches."""
    whole = batches(source, config, 9)
    resumed = batches(source, config, 9 - start_step, start_step=start_step)
    assert_same(resumed, whole[start_step:])


def test_an_epoch_holds_every_image_once(source, config, images):
    config = dataclasses.replace(
        config, augment=dataclasses.replace(config.augment, num_ops=0)
    )
    seen = [
        image.tobytes() for b in batches(source, config, 11) for image in b["image"]
    ]
    all_images = {
        preprocessing.evaluation_image(image, config.image).numpy().tobytes()
        for image in images
    }
    epochs = [seen[start : start + 11] for start in range(0, 44, 11)]
    for epoch in epochs:
        assert set(epoch) == all_images
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_noise_is_new_in_every_epoch(source, config):
    seen = collections.Counter(
        image.tobytes() for b in batches(source, config, 22) for image in b["image"]
    )
    assert len(seen) > 44


def test_seed_and_stream_change_order_and_noise(source, config):
    first = batches(source, config, 3)
    again = batches(source, config, 3)
    assert_same(first, again)
    other_seed = dataclasses.replace(config, seed=1)
    for other in (batches(source, other_seed, 3), batches(source, config, 3, stream=1)):
        assert any(
            np.any(a["image"] != b["image"]) for a, b in zip(first, other, strict=True)
        )


def test_evaluation_sees_every_image_once_in_order_and_fills_up(source, config):
    found = list(
        input_pipeline.evaluation_batches(
            source, config.image, batch_size=4
        ).as_numpy_iterator()
    )
    assert [batch["image"].shape for batch in found] == [(4, 32, 32, 3)] * 3
    weights = np.concatenate([batch["weight"] for batch in found])
    np.testing.assert_array_equal(weights, [1] * 11 + [0])
    labels = np.concatenate([batch["label"] for batch in found])
    assert sorted(labels[:11]) == sorted(LABELS)


def test_images_that_cannot_be_decoded_are_named(tmp_path, images):
    write_records(tmp_path / "part", [*images[:2], b"text"])
    source = open_source(f"tfrecord:{tmp_path}/part")
    input_pipeline.check_decoding(source, count=2)
    with pytest.raises(ValueError, match=r"part#2\b"):
        input_pipeline.check_decoding(source)


@pytest.mark.parametrize("left", [0, 1, 10])
def test_an_epoch_with_fewer_images_stops_the_stream(config, images, tmp_path, left):
    """Without any, TensorFlow would look for the next one for ever."""
    write_records(tmp_path / "part", images, LABELS)
    source = open_source(f"tfrecord:{tmp_path}/part")
    assert source.num_examples == len(images)
    write_records(tmp_path / "part", images[:left], LABELS[:left])
    with pytest.raises(tf.errors.FailedPreconditionError, match=r"\b11\b"):
        batches(source, config, 9)
    evaluation = input_pipeline.evaluation_batches(source, config.image, batch_size=4)
    with pytest.raises(tf.errors.FailedPreconditionError, match=r"\b11\b"):
        list(evaluation.as_numpy_iterator())


def test_smoothing_spreads_the_mass_over_all_classes():
    config = TrainConfig(label_smoothing=0.1)
    make_target = trainer.hard_targets(config, num_classes=4)
    targets = make_target({"label": tf.constant([2, 0])})
    expected = [[0.025, 0.025, 0.925, 0.025], [0.925, 0.025, 0.025, 0.025]]
    np.testing.assert_allclose(targets, expected, rtol=1e-6)


def with_shards(config, count):
    return dataclasses.replace(config, input_shards=count)


def test_input_shards_together_read_every_file_once_an_epoch(config, images, tmp_path):
    write_folder(tmp_path, images, LABELS)
    source = open_source(f"folder:{tmp_path}")
    parts = [source.part(shard, 3) for shard in range(3)]
    assert sorted(len(part.files) for part in parts) == [3, 4, 4]
    names = [file.name for part in parts for file in part.files]
    assert sorted(names) == sorted(file.name for file in source.files)


def test_an_input_shard_opens_no_file_of_another(config, images, tmp_path):
    write_folder(tmp_path, images, LABELS)
    source = open_source(f"folder:{tmp_path}")
    sharded = with_shards(config, 2)
    expected = batches(source, sharded, 6, shard=1)
    for file in source.part(0, 2).files:
        pathlib.Path(file.path).unlink()
    assert_same(batches(source, sharded, 6, shard=1), expected)


def test_one_process_gets_what_many_get_together(source, config):
    sharded = with_shards(config, 2)

    def make(shard):
        return input_pipeline.training_batches(
            source,
            sharded,
            batch_size=4,
            make_target=trainer.hard_targets(sharded, num_classes=NUM_CLASSES),
            start_step=1,
            shard=shard,
        )

    both = input_pipeline.concat_batches([make(0), make(1)])
    both = list(itertools.islice(both.as_numpy_iterator(), 4))
    for shard in range(2):
        alone = batches(source, sharded, 4, start_step=1, shard=shard)
        part = slice(4 * shard, 4 * shard + 4)
        assert_same([{k: v[part] for k, v in batch.items()} for batch in both], alone)


def test_noise_differs_between_input_shards(config, images, tmp_path):
    """The same image in both shards, at the same place of the stream."""
    write_folder(tmp_path, images[:1] * 2, [0, 0])
    source = open_source(f"folder:{tmp_path}")
    sharded = with_shards(config, 2)
    first, second = (batches(source, sharded, 1, shard=shard)[0] for shard in (0, 1))
    assert np.any(first["image"] != second["image"])


def test_a_part_without_files_has_no_evaluation_batches(source, config):
    empty = source.part(20, 21)
    assert empty.files == ()
    assert (
        list(input_pipeline.evaluation_batches(empty, config.image, batch_size=4)) == []
    )


def test_shuffling_is_that_of_tensorflow():
    numbers = tf.data.Dataset.range(50)
    for seed in (3, 2**40 + 5, -7):
        seed = tf.constant(seed, tf.int64)
        expected = numbers.shuffle(8, seed=seed, reshuffle_each_iteration=False)
        found = input_pipeline._shuffled(numbers, 8, seed=seed)
        assert list(found.as_numpy_iterator()) == list(expected.as_numpy_iterator())


def test_no_state_keeps_the_stream_on_one_thread(source, config):
    """What TensorFlow, where it is to be deterministic, would make sequential."""
    dataset = input_pipeline.training_batches(
        source,
        config,
        batch_size=4,
        make_target=trainer.hard_targets(config, num_classes=NUM_CLASSES),
    )
    graph = tf.compat.v1.GraphDef()
    graph.ParseFromString(dataset._as_serialized_graph().numpy())
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    operations = {node.op for node in nodes}
    assert "ShuffleDataset" in operations
    assert "ParallelMapDatasetV2" in operations
    states = {"ShuffleDatasetV2", "ShuffleDatasetV3", "TensorDataset"}
    assert not operations & states
