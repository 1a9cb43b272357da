"""The fold of an image: balanced, stable, and the same for every reader."""

import collections
import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifier.data import folds
from classifier.data.folds import Fold
from classifier.data.python_reader import read_examples
from classifier.data.readers import read_files
from classifier.data.sources import open_source
from tests.images import (
    FORMS,
    make_example,
    open_labeled,
    random_images,
    write_folder,
    write_records,
)

LABELS = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1]
NUM_FOLDS = 3


@pytest.fixture(scope="module")
def images():
    return random_images(len(LABELS))


@pytest.fixture(scope="module", params=FORMS)
def source(request, tmp_path_factory, images):
    root = tmp_path_factory.mktemp(request.param)
    return open_labeled(request.param, root, images, LABELS)


def keys_in_tf_data(source):
    found = read_files(source.reader, source.files).as_numpy_iterator()
    return [(example["key"], int(example["label"])) for example in found]


def keys_in_python(source):
    found = read_examples(source.reader, source.files)
    return [(example.key, example.label) for example in found]


EXAMPLES = st.dictionaries(st.binary(max_size=4), st.integers(0, 4), min_size=1)


@given(EXAMPLES, st.integers(2, 6), st.randoms())
@settings(deadline=None)
def test_folds_are_balanced_overall_and_by_class_in_any_order(
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
    """Calibration must find the folds that an earlier training left out."""
    keys = [b"cat/1.jpg", b"cat/2.jpg", b"dog/1.jpg", b"dog/2.jpg", b"dog/3.jpg"]
    found = folds.assign(keys, np.array([0, 0, 1, 1, 1]), 2)
    assert found.tolist() == [1, 0, 0, 1, 0]


def test_folds_part_a_source_and_both_ways_of_reading_agree(source):
    fold_of = folds.assign_source(source, NUM_FOLDS)
    parts = [
        source.subset([of_file == fold for of_file in fold_of])
        for fold in range(NUM_FOLDS)
    ]
    assert sorted(part.num_examples for part in parts) == [3, 4, 4]
    for part in parts:
        found = keys_in_tf_data(part)
        assert found == keys_in_python(part)
        assert part.num_examples == len(found)
    everything = list(itertools.chain(*map(keys_in_tf_data, parts)))
    assert sorted(everything) == sorted(keys_in_tf_data(source))
    assert len({part.describe()["fingerprint"] for part in parts}) == NUM_FOLDS


def test_input_shards_of_a_part_know_how_many_they_have(source):
    fold_of = folds.assign_source(source, NUM_FOLDS)
    part = source.subset([of_file != 0 for of_file in fold_of])
    shards = [part.part(index, 2) for index in range(2)]
    assert [shard.num_examples for shard in shards] == [
        len(keys_in_tf_data(shard)) for shard in shards
    ]


def test_folds_do_not_depend_on_the_order_of_files(tmp_path, images):
    write_folder(tmp_path, images, LABELS)
    source = open_source(f"folder:{tmp_path}")
    shard = source.shards[0]
    reversed_source = dataclasses.replace(
        source, shards=(dataclasses.replace(shard, files=shard.files[::-1]),)
    )
    assert np.concatenate(folds.assign_source(reversed_source, 3)).tolist()[::-1] == (
        np.concatenate(folds.assign_source(source, 3)).tolist()
    )


def write_labels(root, labels, image=None):
    names = root / "names.txt"
    names.write_text("a\nb\n")
    images = random_images(len(labels)) if image is None else [image] * len(labels)
    write_records(root / "part", images, labels)
    return open_source(f"tfrecord:{root}/part", class_names_file=str(names))


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        ([0, 0, 1], "--folds.*'b'"),
        ([0, 0, 2], r"part#2: .*0\.\.1.*\b2$"),
        ([0, 0, -1], "part#2: .* none$"),
        ([0, 0], r"\b3\b.*--folds.*\b2$"),
    ],
)
def test_sources_that_cannot_be_split_are_refused(tmp_path, labels, named):
    with pytest.raises(ValueError, match=named):
        folds.assign_source(write_labels(tmp_path, labels), 3)


def test_unreadable_images_are_refused(tmp_path):
    source = write_labels(tmp_path, [0, 0, 1, 1])
    path = tmp_path / "part"
    path.write_bytes(path.read_bytes()[: -len(make_example(b"")) - 50])
    source = open_source(source.spec, class_names_file=str(tmp_path / "names.txt"))
    with pytest.raises(ValueError, match="part#3: "):
        folds.assign_source(source, 2)


@pytest.mark.parametrize(
    ("count", "fold", "named"),
    [
        (3, None, "--folds=3 .*--fold$"),
        (0, 1, "--folds=0 .*--fold=1"),
        (1, 0, r"folds .*\b1$"),
        (-2, 0, "folds .*-2$"),
        (3, 3, r"fold .*0\.\.2.*\b3$"),
        (3, -1, r"fold .*0\.\.2.*-1$"),
    ],
)
def test_flags_that_name_no_fold_are_refused(count, fold, named):
    with pytest.raises(ValueError, match=named):
        folds.find_fold(count, fold)


def test_flags_name_a_fold_or_none():
    assert folds.find_fold(0, None) is None
    assert folds.find_fold(3, 0) == Fold(folds=3, fold=0)


@pytest.mark.parametrize("count", [1, 20, 100, 1_000])
def test_a_sample_has_the_share_of_each_class_but_some_of_all(count):
    sizes = np.array([300, 60, 3, 1])
    labels = np.repeat(np.arange(4), sizes)
    keys = [b"%d" % number for number in range(len(labels))]
    rows = folds.sample(keys, labels, count)
    share = np.ceil(sizes / np.ceil(len(labels) / count))
    least = np.minimum(sizes, 5)
    assert np.bincount(labels[rows]).tolist() == np.maximum(share, least).tolist()
    order = np.random.default_rng(0).permutation(len(labels))
    shuffled = folds.sample([keys[i] for i in order], labels[order], count)
    assert (shuffled == rows[order]).all()
