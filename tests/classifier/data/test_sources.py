import errno
import io
import os

import pytest
import tensorflow_datasets as tfds

from classifier.data import sources
from classifier.data.examples import UNLABELED
from classifier.data.python_reader import read_examples
from classifier.data.readers import read_files
from classifier.data.sources import open_source
from tests.images import random_images, write_folder, write_records, write_tar

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
    return prepare(directory, {"picture": images})


@pytest.fixture(scope="module")
def two_images_dir(tmp_path_factory, images):
    """One whose records hold two images each, and two labels."""
    directory = tmp_path_factory.mktemp("tfds") / "pairs" / "1.0.0"
    pairs = {"picture": images, "thumbnail": images[:1] * len(images)}
    return prepare(directory, pairs, labels=("class", "color"))


def prepare(directory, pictures, labels=("class",), classes=LABELS):
    directory.mkdir(parents=True)
    kinds = {
        "id": tfds.features.Text(),
        **{name: tfds.features.Image(shape=(None, None, 3)) for name in pictures},
        **{name: tfds.features.ClassLabel(names=["a", "b", "c"]) for name in labels},
    }
    writer = tfds.core.SequentialWriter(
        tfds.core.DatasetInfo(
            builder=tfds.core.DatasetIdentity(
                name=directory.parent.name,
                version="1.0.0",
                data_dir=directory,
                module_name="",
            ),
            features=tfds.features.FeaturesDict(kinds),
        ),
        max_examples_per_shard=4,
        overwrite=False,
    )
    writer.initialize_splits(["train"])
    examples = [
        {
            "id": str(i),
            **{name: io.BytesIO(images[i]) for name, images in pictures.items()},
            **dict.fromkeys(labels, label),
        }
        for i, label in enumerate(classes)
    ]
    writer.add_examples({"train": examples})
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
    assert {label for _, _, label in read(source)} == {UNLABELED}
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
        ("webdataset:/no/such*.tar", FileNotFoundError, "no file matches"),
        ("tfrecord:/no/**", ValueError, r"a pattern without \*\*, got '/no/\*\*'"),
        ("folder:ftp://host/x", ValueError, "no file system 'ftp://' is known"),
        ("tfrecord:ftp://host/x", ValueError, "no file system 'ftp://' is known"),
        ("tfds:ftp://host/x:train", ValueError, "no file system 'ftp://' is known"),
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


def test_tar_files(tmp_path, images):
    for part in range(2):
        members = [
            (f"{i}.{extension}", content)
            for i in range(part, len(images), 2)
            for extension, content in (("png", images[i]), ("cls", b"%d" % LABELS[i]))
        ]
        write_tar(tmp_path / f"{part}.tar", members)
    names = tmp_path / "names.txt"
    names.write_text("ant\nbee\ncat\n")
    source = open_source(f"webdataset:{tmp_path}/*.tar", class_names_file=str(names))
    assert source.labeled_class_names() == ("ant", "bee", "cat")
    assert source.num_examples == len(images)
    keys, encoded, labels = zip(*read(source), strict=True)
    assert keys[:2] == ("0.tar#0/0", "0.tar#1/2")
    assert encoded == tuple(images[::2] + images[1::2])
    assert labels == tuple(LABELS[::2] + LABELS[1::2])


@pytest.mark.parametrize(
    ("kind", "name", "image", "error"),
    [
        ("tfrecord", "photo", b"", "no feature 'photo', only 'image/class/label', 'im"),
        ("tfrecord", "image/class/label", b"", "expected bytes in 'image/class/label'"),
        ("webdataset", "in.png", b"in", ""),
    ],
)
def test_images_by_another_name(tmp_path, kind, name, image, error):
    write_records(tmp_path / "tfrecord", [b"x"], LABELS[:1])
    write_tar(tmp_path / "webdataset", [("0.in.png", b"in"), ("0.out.png", b"out")])
    source = open_source(f"{kind}:{tmp_path}/{kind}", image_feature=name)
    (found,) = read_examples(source.reader, source.files)
    assert found.image == image
    assert found.error.startswith(error)


def test_one_of_several_images(two_images_dir, images):
    spec = f"tfds:{two_images_dir}:train"
    for name, expected in (("picture", images), ("thumbnail", images[:1] * 7)):
        source = open_source(spec, image_feature=name)
        assert [image for _, image, _ in read(source)] == expected
        found = read_examples(source.reader, source.files)
        assert [example.image for example in found] == expected
        with pytest.raises(ValueError, match="tfds: one ClassLabel or one that is"):
            source.labeled_class_names()
    source = open_source(spec, image_feature="picture", label_feature="color")
    assert [label for _, _, label in read(source)] == LABELS
    with pytest.raises(
        ValueError, match="expected one image feature, it has picture, "
    ):
        open_source(spec)
    message = "'class' is no Image feature, those are: picture, thumbnail"
    with pytest.raises(ValueError, match=message):
        open_source(spec, image_feature="class")


def test_a_folder_has_no_features(tmp_path):
    with pytest.raises(ValueError, match="a folder holds no records with features"):
        open_source(f"folder:{tmp_path}", image_feature="image")


def test_labels_of_records_by_another_name(tmp_path, images):
    write_records(tmp_path / "data", images, LABELS)
    source = open_source(f"tfrecord:{tmp_path}/data", label_feature="no/label")
    assert {label for _, _, label in read(source)} == {UNLABELED}


@pytest.mark.parametrize("split", ["train+train", "train[:3]+train[2:]"])
def test_ranges_that_overlap_would_give_a_key_twice(tfds_dir, split):
    with pytest.raises(ValueError, match="two images would have the same key, as "):
        open_source(f"tfds:{tfds_dir}:{split}")
    source = open_source(f"tfds:{tfds_dir}:train[3:]+train[:3]")
    assert source.num_examples == len(LABELS)


def test_names_that_differ_in_bytes_that_are_not_utf8(tmp_path):
    (tmp_path / "a\udcff").write_bytes(b"one")
    (tmp_path / r"a\xfe").write_bytes(b"two")
    source = open_source(f"folder:{tmp_path}")
    keys = [example.key for example in read_examples(source.reader, source.files)]
    assert sorted(keys) == [b"a\\xfe", b"a\xff"]
    assert source.describe()["num_files"] == 2
    (tmp_path / r"a\xff").write_bytes(b"three")
    with pytest.raises(ValueError, match=r"the same key, as a\\xff is listed twice"):
        open_source(f"folder:{tmp_path}")


def test_what_a_folder_lists(tmp_path):
    """Links are followed but in circles; pipes, which would block, are no images."""
    photos = tmp_path / "photos"
    (photos / ".cache").mkdir(parents=True)
    (photos / ".cache" / "x").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "linked").write_bytes(b"12345")
    (photos / "b").symlink_to(tmp_path / "other")
    (photos / "circle").symlink_to(photos)
    (photos / "broken").symlink_to(tmp_path / "nothing")
    os.mkfifo(photos / "pipe")
    source = open_source(f"folder:{photos}")
    assert [(f.name, f.size) for f in source.files] == [("b/linked", 5), ("broken", -1)]
    found = [e.status for e in read_examples(source.reader, source.files)]
    assert found == ["ok", "missing"]


def test_a_folder_that_cannot_be_listed(tmp_path, images, monkeypatch):
    write_folder(tmp_path, images, LABELS)

    def forbid(path):
        if path.endswith("b"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", forbid)
    with pytest.raises(PermissionError, match="/b"):
        open_source(f"folder:{tmp_path}")


def test_patterns_may_be_relative_and_match_folders(tmp_path, images, monkeypatch):
    write_records(tmp_path / "x" / "one", images[:1])
    write_records(tmp_path / "two", images[1:3])
    (tmp_path / ".hidden").touch()
    monkeypatch.chdir(tmp_path)
    (file,) = open_source("tfrecord:*").files
    assert (file.path, file.name) == ("two", "two")
    assert file.size == (tmp_path / "two").stat().st_size
    (file,) = open_source("tfrecord:x/one").files
    assert (file.path, file.name) == ("x/one", "one")
