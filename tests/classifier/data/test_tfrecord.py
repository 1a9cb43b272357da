"""Framing of TFRecord files, against TensorFlow's own writer and reader."""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf

from classifier.data import tfrecord
from classifier.data.tfrecord import Broken

RECORDS = [b"red", b"green" * 100, b"", b"blue" * 100_000]
FRAME = 16  # Bytes around a record's content.


def write(path, records=RECORDS, compression=""):
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for record in records:
            writer.write(record)
    return path


def read(path, skip=0):
    with path.open("rb") as stream:
        return list(tfrecord.read_records(stream, path.name, skip))


def frame(content, length=None):
    """A record that may claim another length, with the right checksum of that."""
    stream = io.BytesIO()
    tfrecord.write_record(stream, content)
    if length is None:
        return stream.getvalue()
    header = struct.pack("<Q", length)
    checksum = struct.pack("<I", tfrecord._checksum(header))
    return header + checksum + stream.getvalue()[12:]


@pytest.mark.parametrize("compression", ["", "GZIP", "ZLIB"])
@pytest.mark.parametrize("name", ["data", "data.gz"])
def test_records_of_tensorflow_are_read(tmp_path, compression, name):
    path = write(tmp_path / name, compression=compression)
    for skip in range(6):
        assert read(path, skip) == RECORDS[skip:]


def test_tensorflow_reads_the_records_that_are_written(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(frame(b"one") + frame(b""))
    dataset = tf.data.TFRecordDataset(str(path))
    assert list(dataset.as_numpy_iterator()) == [b"one", b""]


@pytest.mark.parametrize(("name", "count"), [("data", 0), ("data.gz", 1)])
def test_an_empty_file(tmp_path, name, count):
    (tmp_path / name).touch()
    found = read(tmp_path / name)
    assert [record.is_rest for record in found] == [True] * count


def test_compressed_streams_may_be_concatenated_and_padded(tmp_path):
    parts = [
        write(tmp_path / f"{i}", RECORDS[2 * i : 2 * i + 2], "GZIP").read_bytes()
        for i in range(2)
    ]
    (tmp_path / "data").write_bytes(b"".join(parts) + bytes(100))
    assert read(tmp_path / "data") == RECORDS


def noise(count):
    """Records that compression hardly shrinks."""
    rng = np.random.default_rng(0)
    return [rng.bytes(1000) for _ in range(count)]


@pytest.mark.parametrize("damage", ["cut", "overwritten"])
def test_a_broken_compressed_stream_gives_the_records_before_it(tmp_path, damage):
    records = noise(4)
    path = write(tmp_path / "data.gz", records, "GZIP")
    content = path.read_bytes()
    half = len(content) // 2
    rest = b"" if damage == "cut" else b"\x00\xff" * 20 + content[half + 40 :]
    path.write_bytes(content[:half] + rest)
    *found, last = read(path)
    is_good = [one == wanted for one, wanted in zip(found, records, strict=False)]
    assert is_good[0]
    for good, one in zip(is_good, found, strict=True):
        assert good or isinstance(one, Broken)
    assert last.is_rest
    assert "decompressed byte" in last.reason


def test_a_wrong_trailer_costs_no_record(tmp_path):
    path = write(tmp_path / "data.gz", noise(4), "GZIP")
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    *good, last = read(path)
    assert good == noise(4)
    assert last.is_rest


@pytest.mark.parametrize("offset", [12, 40])
def test_a_wrong_content_costs_one_record(tmp_path, offset):
    path = write(tmp_path / "data")
    start = FRAME + len(RECORDS[0])
    content = bytearray(path.read_bytes())
    content[start + offset] ^= 1
    path.write_bytes(content)
    first, broken, *rest = read(path)
    assert [first, *rest] == [RECORDS[0], *RECORDS[2:]]
    assert isinstance(broken, Broken)
    assert not broken.is_rest
    assert f"byte {start}" in broken.reason


@pytest.mark.parametrize("kept", [7, 12, 99])
def test_a_cut_file_ends_with_its_position(tmp_path, kept):
    path = write(tmp_path / "data")
    start = FRAME + len(RECORDS[0])
    path.write_bytes(path.read_bytes()[: start + kept])
    good, rest = read(path)
    assert good == RECORDS[0]
    assert rest.is_rest
    assert f"byte {start} " in rest.reason


@pytest.mark.parametrize("length", [2**40, 2**63 - 1, 2**64 - 1])
@pytest.mark.parametrize("skip", [0, 1, 2])
def test_a_length_of_terabytes_ends_the_file(tmp_path, length, skip):
    path = tmp_path / "data"
    path.write_bytes(frame(b"a") + frame(b"x" * 100, length))
    *_, last = read(path, skip=skip)
    assert last.is_rest


def test_a_record_that_is_too_long_costs_one(tmp_path, monkeypatch):
    monkeypatch.setattr(tfrecord, "MAX_LENGTH", 1000)
    path = write(tmp_path / "data", [b"a", bytes(2000), b"b"])
    first, long, last = read(path)
    assert (first, last) == (b"a", b"b")
    assert not long.is_rest
    assert {"2,000", "1,000,"} <= set(long.reason.split())
