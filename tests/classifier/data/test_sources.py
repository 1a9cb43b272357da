import dataclasses
import re

import pytest

from classifier.data import sources
from classifier.data.examples import UNLABELED
from classifier.data.python_reader import read_examples
from classifier.data.readers import read_files
from classifier.data.sources import open_source
from tests.images import (
    random_images,
    write_folder,
    write_labeled_tar,
    write_records,
    write_tar,
    write_tfds,
)

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
    return write_tfds(directory, {"picture": images}, LABELS)


@pytest.fixture(scope="module")
def two_images_dir(tmp_path_factory, images):
    """One whose records hold two images each, and two labels."""
    directory = tmp_path_factory.mktemp("tfds") / "pairs" / "1.0.0"
    pairs = {"picture": images, "thumbnail": images[:1] * len(images)}
    return write_tfds(directory, pairs, LABELS, labels=("class", "color"))


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
    assert {label for _, _, label in read(source)} == {UNLABELED}
    with pytest.raises(ValueError, match=f"folder:{tmp_path}"):
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
    assert set(labels) == {UNLABELED}


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
    examples = read_files(source.reader, source.files).as_numpy_iterator()
    assert [e["id"] for e in examples] == [b"%d" % i for i in range(len(LABELS))]
    with pytest.raises(ValueError, match="'wings'"):
        open_source(f"tfds:{tfds_dir}:train", more_features=("wings",))


@pytest.mark.parametrize(
    ("spec", "error", "named"),
    [
        ("photos", ValueError, "tfds:NAME:SPLIT.*'photos'"),
        ("zip:photos", ValueError, "tfds:NAME:SPLIT.*'zip:photos'"),
        ("folder:", ValueError, "folder:PATH.*'folder:'"),
        ("tfds:mnist", ValueError, "tfds:NAME:SPLIT.*'tfds:mnist'"),
        ("folder:/no/such", FileNotFoundError, "'/no/such'"),
        ("tfrecord:/no/such*", FileNotFoundError, r"'/no/such\*'"),
        ("webdataset:/no/such*.tar", FileNotFoundError, r"'/no/such\*.tar'"),
        ("tfrecord:/no/**", ValueError, r"'/no/\*\*'"),
        ("folder:ftp://host/x", ValueError, "'ftp://'"),
        ("tfrecord:ftp://host/x", ValueError, "'ftp://'"),
        ("tfds:ftp://host/x:train", ValueError, "'ftp://'"),
        ("tfds:nosuchset:train", FileNotFoundError, "'nosuchset'"),
        ("tfds:/no/such/dir:train", FileNotFoundError, "'/no/such/dir'"),
    ],
)
def test_what_does_not_exist_is_named(spec, error, named, tmp_path):
    with pytest.raises(error, match=named):
        open_source(spec, data_dir=str(tmp_path))


def test_empty_folder_and_unknown_split(tmp_path, tfds_dir):
    with pytest.raises(ValueError, match=str(tmp_path)):
        open_source(f"folder:{tmp_path}")
    with pytest.raises(ValueError, match=r"'dev'.*train"):
        open_source(f"tfds:{tfds_dir}:dev")


def test_descriptions_tell_sources_apart_but_not_machines(tmp_path, images):
    for place in ("here", "there"):
        write_folder(tmp_path / place, images, LABELS)
    here, there = (open_source(f"folder:{tmp_path / p}") for p in ("here", "there"))
    assert here.describe() == there.describe()
    (tmp_path / "there" / "a" / "new.png").write_bytes(images[0])
    assert here.describe() != open_source(f"folder:{tmp_path / 'there'}").describe()


def test_tar_files(tmp_path, images):
    for part in range(2):
        write_labeled_tar(tmp_path / f"{part}.tar", images[part::2], LABELS[part::2])
    names = tmp_path / "names.txt"
    names.write_text("ant\nbee\ncat\n")
    source = open_source(f"webdataset:{tmp_path}/*.tar", class_names_file=str(names))
    assert source.labeled_class_names() == ("ant", "bee", "cat")
    assert source.num_examples == len(images)
    keys, encoded, labels = zip(*read(source), strict=True)
    assert keys[:2] == ("0.tar#0/0", "0.tar#1/1")
    assert encoded == tuple(images[::2] + images[1::2])
    assert labels == tuple(LABELS[::2] + LABELS[1::2])


@pytest.mark.parametrize(
    ("kind", "name", "image", "named"),
    [
        ("tfrecord", "photo", b"", "'photo'.*'image/class/label', 'image/encoded'"),
        ("tfrecord", "image/class/label", b"", "'image/class/label'"),
        ("webdataset", "in.png", b"in", "^$"),
    ],
)
def test_images_by_another_name(tmp_path, kind, name, image, named):
    write_records(tmp_path / "tfrecord", [b"x"], LABELS[:1])
    write_tar(tmp_path / "webdataset", [("0.in.png", b"in"), ("0.out.png", b"out")])
    source = open_source(f"{kind}:{tmp_path}/{kind}", image_feature=name)
    (found,) = read_examples(source.reader, source.files)
    assert found.image == image
    assert re.search(named, found.error)


def test_one_of_several_images(two_images_dir, images):
    spec = f"tfds:{two_images_dir}:train"
    for name, expected in (("picture", images), ("thumbnail", images[:1] * 7)):
        source = open_source(spec, image_feature=name)
        assert [image for _, image, _ in read(source)] == expected
        found = read_examples(source.reader, source.files)
        assert [example.image for example in found] == expected
        with pytest.raises(ValueError, match="ClassLabel"):
            source.labeled_class_names()
    source = open_source(spec, image_feature="picture", label_feature="color")
    assert [label for _, _, label in read(source)] == LABELS
    with pytest.raises(ValueError, match="picture, thumbnail"):
        open_source(spec)
    with pytest.raises(ValueError, match=r"'class'.*picture, thumbnail"):
        open_source(spec, image_feature="class")


def test_a_folder_has_no_features(tmp_path):
    with pytest.raises(ValueError, match=f"folder:{tmp_path}"):
        open_source(f"folder:{tmp_path}", image_feature="image")


def test_labels_of_records_by_another_name(tmp_path, images):
    write_records(tmp_path / "data", images, LABELS)
    source = open_source(f"tfrecord:{tmp_path}/data", label_feature="no/label")
    assert {label for _, _, label in read(source)} == {UNLABELED}


@pytest.mark.parametrize("split", ["train+train", "train[:3]+train[2:]"])
def test_ranges_that_overlap_would_give_a_key_twice(tfds_dir, split):
    with pytest.raises(ValueError, match=r"shapes-train\.tfrecord-0000"):
        open_source(f"tfds:{tfds_dir}:{split}")
    source = open_source(f"tfds:{tfds_dir}:train[3:]+train[:3]")
    assert source.num_examples == len(LABELS)


def test_names_that_differ_in_bytes_that_are_not_utf8(tmp_path):
    (tmp_path / "a\udcff").write_bytes(b"first")
    (tmp_path / r"a\xfe").write_bytes(b"second")
    source = open_source(f"folder:{tmp_path}")
    keys = [example.key for example in read_examples(source.reader, source.files)]
    assert sorted(keys) == [b"a\\xfe", b"a\xff"]
    assert source.describe()["num_files"] == 2
    (tmp_path / r"a\xff").write_bytes(b"third")
    with pytest.raises(ValueError, match=r"a\\xff"):
        open_source(f"folder:{tmp_path}")


def test_the_origin_of_a_dataset_has_the_license_of_its_metadata(tmp_path, images):
    directory = tmp_path / "shapes" / "1.0.0"
    write_tfds(directory, {"picture": images}, LABELS, license="CC BY\n4.0")
    source = open_source(f"tfds:{directory}:train")
    origin = source.origin()
    assert (origin.license, origin.stated_by) == ("CC BY 4.0", "publisher")
    assert origin.name == "tfds:.../shapes/1.0.0:train"
    assert source.origin("MIT").license == "MIT"
    assert source.describe().keys() == {"num_shards", "num_files", "fingerprint"}


def test_the_origin_of_a_folder_is_the_same_before_and_after_it_was_read(
    tmp_path, images
):
    write_folder(tmp_path / "photos", images, LABELS)
    source = open_source(f"folder:{tmp_path}/photos")
    origin = source.origin()
    assert (origin.license, origin.stated_by) == ("unknown", "")
    assert dataclasses.replace(source, content="f" * 64).origin() == origin
    assert source.origin("CC0-1.0").stated_by == "user"


def test_a_plain_path_gives_what_its_form_gives(tmp_path, images):
    write_folder(tmp_path / "in", images, LABELS)
    plain = open_source(f"{tmp_path}/in")
    assert plain.describe() == open_source(f"folder:{tmp_path}/in").describe()
    assert plain.labeled_class_names() == ("a", "b", "c")


def test_a_folder_may_have_a_colon_in_its_name(tmp_path, images, monkeypatch):
    write_folder(tmp_path / "a:b", images[:1])
    monkeypatch.chdir(tmp_path)
    assert len(read(open_source("a:b"))) == 1
