import io

import numpy as np
import pytest
import tensorflow_datasets as tfds

from classifier import sources
from classifier.sources import open_source, read_batches, read_files
from tests.images import random_images, write_folder, write_records

LABELS = [0, 1, 2, 0, 1, 2, 0]


def read(source):
    examples = list(read_files(source.reader, source.files).as_numpy_iterator())
    return [(e["key"].decode(), e["image"], int(e["label"])) for e in examples]


@pytest.fixture(scope="module")
def images():
    return random_images(len(LABELS))


@pytest.fixture(scope="module")
def tfds_dir(tmp_path_factory, images):
    """A prepared TFDS dataset of two shards."""
    directory = tmp_path_factory.mktemp("tfds") / "shapes" / "1.0.0"
    directory.mkdir(parents=True)
    features = tfds.features.FeaturesDict(
        {
            "id": tfds.features.Text(),
            "picture": tfds.features.Image(shape=(None, None, 3)),
            "class": tfds.features.ClassLabel(names=["a", "b", "c"]),
        }
    )
    writer = tfds.core.SequentialWriter(
        tfds.core.DatasetInfo(
            builder=tfds.core.DatasetIdentity(
                name="shapes", version="1.0.0", data_dir=directory, module_name=""
            ),
            features=features,
        ),
        max_examples_per_shard=4,
        overwrite=False,
    )
    writer.initialize_splits(["train"])
    writer.add_examples(
        {
            "train": [
                {"id": str(i), "picture": io.BytesIO(image), "class": label}
                for i, (image, label) in enumerate(zip(images, LABELS, strict=True))
            ]
        }
    )
    writer.close_all()
    return directory


def test_labeled_folder(tmp_path, images):
    write_folder(tmp_path, images, LABELS)
    (tmp_path / "a" / ".hidden").write_text("no image")
    source = open_source(f"folder:{tmp_path}")
    assert source.class_names == ("a", "b", "c")
    assert source.num_examples == len(images)
    expected = sorted(
        (f"{'abc'[label]}/{i:05d}.png", images[i], label)
        for i, label in enumerate(LABELS)
    )
    assert read(source) == expected


def test_unlabeled_folder_may_be_any_tree(tmp_path, images, monkeypatch):
    write_folder(tmp_path / "2024" / "may", images[:3])
    write_folder(tmp_path, images[3:])
    monkeypatch.setattr(sources, "FOLDER_SHARD_SIZE", 3)
    source = open_source(f"folder:{tmp_path}")
    assert source.class_names is None
    assert [len(shard.files) for shard in source.shards] == [3, 3, 1]
    assert {label for _, _, label in read(source)} == {sources.UNLABELED}
    with pytest.raises(ValueError, match="sub-folder of its class"):
        source.labeled_class_names()


def test_records_keep_their_order_and_get_unique_keys(tmp_path, images):
    write_records(tmp_path / "x" / "part-0", images[:4])
    write_records(tmp_path / "y" / "part-0", images[4:])
    source = open_source(f"tfrecord:{tmp_path}/*/part-*")
    assert source.num_examples == len(images)
    keys, encoded, labels = zip(*read(source), strict=True)
    assert keys[3:5] == ("x/part-0#3", "y/part-0#0")
    assert len(set(keys)) == len(images)
    assert list(encoded) == images
    assert set(labels) == {sources.UNLABELED}


def test_labeled_records_take_their_names_from_a_file(tmp_path, images):
    write_records(tmp_path / "data", images, LABELS)
    names = tmp_path / "names.txt"
    names.write_text("ant\nbee\ncat\n\n")
    source = open_source(f"tfrecord:{tmp_path}/data", class_names_file=str(names))
    assert source.class_names == ("ant", "bee", "cat")
    assert [label for _, _, label in read(source)] == LABELS


def test_tfds_by_directory_finds_image_and_label_by_their_kind(tfds_dir, images):
    source = open_source(f"tfds:{tfds_dir}:train")
    assert source.class_names == ("a", "b", "c")
    assert len(source.shards) == 2
    assert source.num_examples == len(images)
    _, encoded, labels = zip(*read(source), strict=True)
    assert list(encoded) == images
    assert list(labels) == LABELS


def test_tfds_by_name(tfds_dir, images):
    data_dir = str(tfds_dir.parent.parent)
    source = open_source("tfds:shapes:train", data_dir=data_dir)
    assert [image for _, image, _ in read(source)] == images


def test_part_of_a_split_keeps_the_keys_of_the_whole(tfds_dir):
    whole = read(open_source(f"tfds:{tfds_dir}:train"))
    part = open_source(f"tfds:{tfds_dir}:train[2:5]")
    assert part.num_examples == 3
    assert read(part) == whole[2:5]


def test_further_features_come_along(tfds_dir):
    source = open_source(f"tfds:{tfds_dir}:train", more_features=("id",))
    ids = [batch["id"] for batch in read_batches(source.reader, source.files)]
    assert np.concatenate(ids).tolist() == [b"%d" % i for i in range(len(LABELS))]
    with pytest.raises(ValueError, match="no feature 'wings'"):
        open_source(f"tfds:{tfds_dir}:train", more_features=("wings",))


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("photos", ValueError, "expected a source as tfds:NAME:SPLIT"),
        ("zip:photos", ValueError, "expected a source as tfds:NAME:SPLIT"),
        ("folder:", ValueError, "expected a source as"),
        ("tfds:mnist", ValueError, "expected tfds:NAME:SPLIT"),
        ("folder:/no/such", FileNotFoundError, "no folder '/no/such'"),
        ("tfrecord:/no/such*", FileNotFoundError, "no file matches"),
        ("tfds:nosuchset:train", FileNotFoundError, "no TFDS dataset 'nosuchset'"),
        ("tfds:/no/such/dir:train", FileNotFoundError, "no TFDS dataset"),
    ],
)
def test_what_is_not_there_is_named(spec, error, message, tmp_path):
    with pytest.raises(error, match=message):
        open_source(spec, data_dir=str(tmp_path))


def test_empty_folder_and_unknown_split(tmp_path, tfds_dir):
    with pytest.raises(ValueError, match="no files"):
        open_source(f"folder:{tmp_path}")
    with pytest.raises(ValueError, match="no split 'dev', the dataset has train"):
        open_source(f"tfds:{tfds_dir}:dev")


def test_descriptions_tell_sources_apart_but_not_machines(tmp_path, images):
    for place in ("here", "there"):
        write_folder(tmp_path / place, images, LABELS)
    here, there = (open_source(f"folder:{tmp_path / p}") for p in ("here", "there"))
    assert here.describe() == there.describe()
    (tmp_path / "there" / "a" / "new.png").write_bytes(images[0])
    assert here.describe() != open_source(f"folder:{tmp_path / 'there'}").describe()
