"""Readers: tf.data and Python give the same keys, bytes and labels."""

import dataclasses
import os

import pytest
import tensorflow as tf

from classifier.data.examples import Example, File
from classifier.data.parquet_rows import Columns
from classifier.data.python_reader import read_examples
from classifier.data.readers import (
    FolderReader,
    ParquetReader,
    RecordReader,
    TarReader,
    files_dataset,
    read_files,
)
from classifier.data.sources import open_source
from tests.images import (
    random_images,
    write_csv,
    write_labeled_tar,
    write_parquet,
    write_records,
    write_tar,
)

LABELS = [3, 1, 4, 1, 5]


def in_python(reader, files):
    found = read_examples(reader, files)
    return [(example.key, example.image, example.label) for example in found]


def in_tf_data(reader, files):
    found = read_files(reader, files).as_numpy_iterator()
    return [(e["key"], e["image"], int(e["label"])) for e in found]


@pytest.mark.parametrize(
    "kind", ["folder", "csv", "parquet", "tfrecord", "tfrecord.gz", "webdataset"]
)
def test_tf_data_gives_the_same_keys_and_bytes(tmp_path, kind):
    images = random_images(5)
    for part in range(2):
        rows = images[part::2], LABELS[part::2]
        if kind == "folder":
            for i, image in enumerate(rows[0]):
                (tmp_path / f"{part}-{i}\udcff.png").write_bytes(image)
        elif kind == "csv":
            for i, image in enumerate(rows[0]):
                (tmp_path / f"{part}-{i}\udcff.png").write_bytes(image)
            listed = [f"{p}-{i}\udcff.png" for p in (0, 1) for i in range(3 - p)]
            lines = zip(listed, LABELS[::2] + LABELS[1::2], strict=True)
            write_csv(tmp_path / "list.csv", lines)
            names = tmp_path / "names.txt"
            names.write_text("a\nb\nc\nd\ne\nf\n")
        elif kind == "parquet":
            write_parquet(tmp_path / f"{part}\udcff.parquet", *rows)
        elif kind == "webdataset":
            write_labeled_tar(tmp_path / f"{part}\udcff.tar", *rows)
        else:
            compression = "GZIP" if kind.endswith(".gz") else ""
            write_records(tmp_path / f"{part}.{kind}", *rows, compression)
    pattern = {"folder": "", "csv": "list.csv"}.get(kind, "*")
    source = open_source(
        f"{kind.removesuffix('.gz')}:{tmp_path}/{pattern}",
        class_names_file=str(tmp_path / "names.txt") if kind == "csv" else None,
    )
    expected = in_python(source.reader, source.files)
    assert len(expected) == 5
    found = in_tf_data(source.reader, source.files)
    assert found == expected
    assert sorted(image for _, image, _ in found) == sorted(images)
    if kind != "folder":
        assert [label for *_, label in found] == LABELS[::2] + LABELS[1::2]


def write(root, kind):
    images = random_images(5)
    if kind == "parquet":
        write_parquet(root / "data", images, LABELS)
        return ParquetReader(Columns("image", "label"))
    if kind == "webdataset":
        write_labeled_tar(root / "data", images, LABELS)
        return TarReader()
    write_records(root / "data", images, LABELS)
    return RecordReader()


@pytest.mark.parametrize("kind", ["parquet", "tfrecord", "webdataset"])
@pytest.mark.parametrize("mask", ["11111", "10010", "00001", "00000"])
def test_a_part_is_what_the_mask_selects(tmp_path, kind, mask):
    reader = write(tmp_path, kind)
    file = File(path=str(tmp_path / "data"), name="data")
    everything = in_python(reader, [file])
    expected = [row for row, bit in zip(everything, mask, strict=True) if bit == "1"]
    masked = dataclasses.replace(file, kept=bytes(map(int, mask)))
    assert in_python(reader, [masked]) == expected
    assert in_tf_data(reader, [masked]) == expected


@pytest.mark.parametrize("kind", ["parquet", "tfrecord", "webdataset"])
def test_a_file_without_a_mask_beside_one_with_a_mask_is_read(tmp_path, kind):
    reader = write(tmp_path, kind)
    file = File(path=str(tmp_path / "data"), name="data")
    masked = dataclasses.replace(file, kept=b"\x00\x01")
    expected = in_python(reader, [file])
    assert len(expected) == 5
    expected += [expected[1], *expected]
    assert in_python(reader, [file, masked, file]) == expected
    assert in_tf_data(reader, [file, masked, file]) == expected


@pytest.mark.parametrize("kind", ["parquet", "tfrecord"])
def test_both_read_the_same_range_of_records(tmp_path, kind):
    reader = write(tmp_path, kind)
    file = File(path=str(tmp_path / "data"), name="data", skip=2, take=3)
    found = in_tf_data(reader, [file])
    assert [key for key, *_ in found] == [b"data#2", b"data#3", b"data#4"]
    assert found == in_python(reader, [file])


def test_files_are_rows_whatever_bytes_their_names_have():
    files = [
        File(path="/\udcff/1", name="1\udcfe", label=2),
        File(
            path="/2",
            name="2",
            skip=3,
            take=4,
            size=5,
            kept=b"\x01\x00",
            compression="GZIP",
        ),
    ]
    rows = list(files_dataset(files).as_numpy_iterator())
    for row in rows:
        texts = ("path", "name", "compression")
        row.update({name: os.fsdecode(row[name]) for name in texts})
    assert [File(**row) for row in rows] == files


def test_a_folder_passes_on_the_label_of_its_files(tmp_path):
    (tmp_path / "1.png").write_bytes(b"x")
    file = File(path=str(tmp_path / "1.png"), name="b/1.png", take=1, label=7)
    assert in_tf_data(FolderReader(), [file]) == [(b"b/1.png", b"x", 7)]
    assert in_python(FolderReader(), [file]) == [(b"b/1.png", b"x", 7)]


def test_samples_of_a_chosen_extension(tmp_path):
    write_tar(tmp_path / "data", [("0.in.png", b"a"), ("0.out.png", b"b")])
    file = File(path=str(tmp_path / "data"), name="data")
    (found,) = read_examples(TarReader(("out.png",)), [file])
    assert found == Example(b"data#0/0", b"b", -1)


def test_training_fails_at_a_sample_without_an_image(tmp_path):
    write_tar(tmp_path / "data", [("0.png", b"a"), ("1.txt", b"b")])
    file = File(path=str(tmp_path / "data"), name="data")
    with pytest.raises(tf.errors.InvalidArgumentError, match="data#1/1"):
        in_tf_data(TarReader(), [file])


def test_training_reads_tar_files_to_their_end_or_fails(tmp_path):
    images = random_images(4)
    write_labeled_tar(tmp_path / "a.tar", images[:2], [0, 1])
    write_labeled_tar(tmp_path / "b.tar", images[2:], [1, 0])
    path = tmp_path / "all.tar"
    parts = [(tmp_path / name).read_bytes() for name in ("a.tar", "b.tar")]
    path.write_bytes(parts[0] + parts[1])
    files = open_source(f"webdataset:{path}").files
    assert [image for _, image, _ in in_tf_data(TarReader(), files)] == images
    path.write_bytes(parts[0] + parts[1][:4096])  # Another size than was listed.
    with pytest.raises(tf.errors.InvalidArgumentError, match="bytes"):
        in_tf_data(TarReader(), files)
    path.write_bytes(parts[0] + parts[1][:1024])
    with pytest.raises(tf.errors.InvalidArgumentError, match="ends"):
        in_tf_data(TarReader(), open_source(f"webdataset:{path}").files)
