"""Which images a fold holds, and that training sees none of them."""

import collections
import dataclasses
import itertools
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from classifier.data import folds, preprocessing
from classifier.data.folds import Fold
from classifier.data.python_reader import read_examples
from classifier.data.readers import read_files
from classifier.data.sources import open_source
from classifier.training import trainer
from tests.classifier.data.test_sources import prepare
from tests.images import (
    make_example,
    random_images,
    write_folder,
    write_records,
    write_tar,
)

LABELS = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1]
NUM_FOLDS = 3


@pytest.fixture(scope="module")
def images():
    return random_images(len(LABELS))


@pytest.fixture(scope="module", params=["folder", "tfrecord", "tfds", "webdataset"])
def source(request, tmp_path_factory, images):
    """The same images in each form, but for the folder in two or more files."""
    root = tmp_path_factory.mktemp(request.param)
    names = root / "names.txt"
    names.write_text("a\nb\nc\n")
    if request.param == "folder":
        write_folder(root / "images", images, LABELS)
        return open_source(f"folder:{root}/images")
    if request.param == "tfds":
        directory = prepare(
            root / "shapes" / "1.0.0", {"image": images}, classes=LABELS
        )
        return open_source(f"tfds:{directory}:train[:2]+train[2:]")
    for name, part in (("0", slice(6)), ("1", slice(6, None))):
        if request.param == "tfrecord":
            write_records(root / name, images[part], LABELS[part])
        else:
            members = [
                (f"{index}.{extension}", content)
                for index, (image, label) in enumerate(
                    zip(images[part], LABELS[part], strict=True)
                )
                for extension, content in (("png", image), ("cls", b"%d" % label))
            ]
            write_tar(root / name, members)
    return open_source(f"{request.param}:{root}/?", class_names_file=str(names))


def keys_in_tf_data(source):
    found = read_files(source.reader, source.files).as_numpy_iterator()
    return [(example["key"], int(example["label"])) for example in found]


def keys_in_python(source):
    found = read_examples(source.reader, source.files)
    return [(example.key, example.label) for example in found]


# --- the dealing ---------------------------------------------------------------
EXAMPLES = st.dictionaries(st.binary(max_size=4), st.integers(0, 4), min_size=1)


@given(EXAMPLES, st.integers(2, 6), st.randoms())
@settings(deadline=None)
def test_dealing_is_even_in_all_and_in_each_class_whatever_the_order(
    label_of, num_folds, random
):
    keys = list(label_of)

    def assigned(keys):
        labels = np.array([label_of[key] for key in keys])
        return dict(zip(keys, folds.assign(keys, labels, num_folds), strict=True))

    fold_of = assigned(keys)
    for label in {None, *label_of.values()}:
        sizes = collections.Counter(dict.fromkeys(range(num_folds), 0))
        sizes.update(f for k, f in fold_of.items() if label in (None, label_of[k]))
        assert sizes.keys() == set(range(num_folds))
        assert max(sizes.values()) - min(sizes.values()) <= 1
    random.shuffle(keys)
    assert assigned(keys) == fold_of


def test_five_of_each_class_are_two_two_and_one():
    keys = [b"%d" % index for index in range(50)]
    labels = np.arange(50) % 10
    found = folds.assign(keys, labels, 3)
    for label in range(10):
        assert sorted(np.bincount(found[labels == label])) == [1, 2, 2]
    assert sorted(np.bincount(found)) == [16, 17, 17]


def test_folds_never_change():
    """Calibrating must find the folds that training, perhaps of last year, left out."""
    keys = [b"cat/1.jpg", b"cat/2.jpg", b"dog/1.jpg", b"dog/2.jpg", b"dog/3.jpg"]
    found = folds.assign(keys, np.array([0, 0, 1, 1, 1]), 2)
    assert found.tolist() == [1, 0, 0, 1, 0]


# --- sources -------------------------------------------------------------------
def test_folds_part_a_source_and_both_ways_of_reading_agree(source):
    dealt = folds.assign_source(source, NUM_FOLDS)
    parts = [source.only([of_file == i for of_file in dealt]) for i in range(NUM_FOLDS)]
    assert sorted(part.num_examples for part in parts) == [3, 4, 4]
    for part in parts:
        found = keys_in_tf_data(part)
        assert found == keys_in_python(part)
        assert part.num_examples == len(found)
    everything = list(itertools.chain(*map(keys_in_tf_data, parts)))
    assert sorted(everything) == sorted(keys_in_tf_data(source))
    assert len({part.describe()["fingerprint"] for part in parts}) == NUM_FOLDS


def test_input_shards_of_a_part_know_how_many_they_have(source):
    dealt = folds.assign_source(source, NUM_FOLDS)
    part = source.only([of_file != 0 for of_file in dealt])
    shards = [part.part(index, 2) for index in range(2)]
    assert [shard.num_examples for shard in shards] == [
        len(keys_in_tf_data(shard)) for shard in shards
    ]


def test_the_same_images_are_dealt_alike_in_another_order(tmp_path, images):
    """The files of a glob are sorted; those that somebody lists need not be."""
    write_folder(tmp_path, images, LABELS)
    source = open_source(f"folder:{tmp_path}")
    shard = source.shards[0]
    turned = dataclasses.replace(
        source, shards=(dataclasses.replace(shard, files=shard.files[::-1]),)
    )
    assert np.concatenate(folds.assign_source(turned, 3)).tolist()[::-1] == (
        np.concatenate(folds.assign_source(source, 3)).tolist()
    )


def write_labels(root, labels, image=None):
    names = root / "names.txt"
    names.write_text("a\nb\n")
    images = random_images(len(labels)) if image is None else [image] * len(labels)
    write_records(root / "part", images, labels)
    return open_source(f"tfrecord:{root}/part", class_names_file=str(names))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 0, 1], "expected two or more images of each class.*got one of 'b'"),
        ([0, 0, 2], r"part#2: label 2 is not in 0\.\.1"),
        ([0, 0, -1], "part#2: label -1"),
        ([0, 0], "expected at least 3 images, one for each of --folds, got 2"),
    ],
)
def test_what_cannot_be_dealt_is_refused(tmp_path, labels, message):
    with pytest.raises(ValueError, match=message):
        folds.assign_source(write_labels(tmp_path, labels), 3)


def test_what_cannot_be_read_is_refused(tmp_path):
    source = write_labels(tmp_path, [0, 0, 1, 1])
    path = tmp_path / "part"
    path.write_bytes(path.read_bytes()[: -len(make_example(b"")) - 50])
    with pytest.raises(ValueError, match="part#3: "):
        folds.assign_source(source, 2)


@pytest.mark.parametrize(
    ("count", "fold", "message"),
    [
        (3, None, "go together, got --folds=3 and no --fold"),
        (0, 1, "go together, got --folds=0 and --fold=1"),
        (1, 0, "folds must be 0 or at least 2, got 1"),
        (-2, 0, "folds must be 0 or at least 2, got -2"),
        (3, 3, r"fold must be in 0\.\.2, got 3"),
        (3, -1, r"fold must be in 0\.\.2, got -1"),
    ],
)
def test_flags_that_name_no_fold_are_refused(count, fold, message):
    with pytest.raises(ValueError, match=message):
        folds.find_fold(count, fold)


def test_flags_name_a_fold_or_none():
    assert folds.find_fold(0, None) is None
    assert folds.find_fold(3, 0) == Fold(folds=3, fold=0)


# --- training ------------------------------------------------------------------
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
    dataset = run.labeled_batches(start_step, range(run.config.input_shards))
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
    graph.ParseFromString(left.labeled_batches(0, [0])._as_serialized_graph().numpy())
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


def test_enough_files_must_be_left_for_the_input_shards(tmp_path, images, config):
    write_folder(tmp_path, images[:4], [0, 0, 1, 1])
    config = dataclasses.replace(config, input_shards=4, global_batch_size=8)
    run = open_folder(tmp_path, config)
    with pytest.raises(ValueError, match="expected at least 4 files"):
        trainer.leave_out(run, Fold(folds=2, fold=0))
