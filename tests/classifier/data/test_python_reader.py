"""Every image becomes one example, whatever is wrong with it."""

import errno
import gzip
import io
import os
import re
import tarfile
import time

import pytest
import tensorflow as tf
from etils import epath

from classifier.data import opening, python_reader
from classifier.data.examples import Example, File, key_text
from classifier.data.python_reader import read_batches, read_examples
from classifier.data.readers import FolderReader, RecordReader, TarReader
from stage import retry
from stage.status import BAD_RECORD, CORRUPT_RECORD, MISSING, OK, UNREADABLE
from tests.images import make_example, random_images, write_records, write_tar

IMAGES = [b"red", b"green" * 100, b"", b"blue" * 100_000]
FRAME = 16  # Bytes around a record's content.
READERS = {
    "folder": FolderReader(),
    "tfrecord": RecordReader(),
    "webdataset": TarReader(),
}


def read(path, reader="tfrecord", **fields):
    file = File(path=str(path), name="data", **fields)
    return list(read_examples(READERS[reader], [file]))


def expected(index, image, label=-1):
    return Example(b"data#%d" % index, image, label)


@pytest.fixture
def records(tmp_path):
    """A file of `IMAGES`; its records' lengths."""
    path = tmp_path / "data"
    write_records(path, IMAGES)
    return path


def starts():
    """Where each record begins, and the file ends."""
    positions = [0]
    for image in IMAGES:
        positions.append(positions[-1] + len(make_example(image)) + FRAME)
    return positions


def overwrite(path, position, content=b"\xff"):
    with path.open("r+b") as file:
        file.seek(position)
        file.write(content)


@pytest.fixture
def no_waiting(monkeypatch):
    waited = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


def test_intact_records(records):
    assert read(records) == [expected(i, image) for i, image in enumerate(IMAGES)]
    assert read(records, skip=1, take=2) == [
        expected(1, IMAGES[1]),
        expected(2, IMAGES[2]),
    ]
    assert read(records, skip=3, take=0) == []


def test_an_empty_file_of_records_holds_none(tmp_path):
    (tmp_path / "data").touch()
    assert read(tmp_path / "data") == []


def test_batches_are_full_but_for_the_last(records):
    files = [File(path=str(records), name=name) for name in "ab"]
    batches = list(read_batches(RecordReader(), files, 3))
    assert [len(batch) for batch in batches] == [3, 3, 2]
    keys = [example.key for batch in batches for example in batch]
    assert keys == [b"%c#%d" % (name, i) for name in b"ab" for i in range(4)]


def test_batches_have_a_limit_in_bytes(records, monkeypatch):
    file = File(path=str(records), name="data")
    monkeypatch.setattr(python_reader, "_MAX_BATCH_BYTES", 505)
    batches = read_batches(RecordReader(), [file, file], 3)
    sizes = [[len(example.image) for example in batch] for batch in batches]
    assert sizes == [[3, 500, 0], [400_000], [3, 500, 0], [400_000]]


@pytest.mark.parametrize("compression", ["GZIP", "ZLIB"])
@pytest.mark.parametrize("name", ["data.gz", "data"])
def test_compressed_records_are_recognized_by_their_content(
    tmp_path, compression, name
):
    path = tmp_path / name
    write_records(path, IMAGES, compression=compression)
    assert [example.image for example in read(path)] == IMAGES
    assert read(path, skip=2, take=1) == [expected(2, b"")]


def test_a_cut_compressed_file_gives_what_is_there(tmp_path):
    path = tmp_path / "data.gz"
    write_records(path, random_images(4), compression="GZIP")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    *good, last = read(path)
    assert [example.status for example in good] == [OK] * len(good)
    assert (last.key, last.status) == (b"data#%d" % len(good), CORRUPT_RECORD)
    assert "decompressed byte" in last.error


def test_a_wrong_content_checksum_costs_one_record(records):
    overwrite(records, starts()[1] + 30)
    first, lost, *others = read(records)
    assert [first, *others] == [expected(i, IMAGES[i]) for i in (0, 2, 3)]
    assert lost == Example(b"data#1", b"", -1, CORRUPT_RECORD, lost.error)
    assert f"byte {starts()[1]}" in lost.error


@pytest.mark.parametrize(
    "damage",
    [
        lambda path, start: overwrite(path, start),
        lambda path, start: os.truncate(path, start + 7),
        lambda path, start: os.truncate(path, start + 12),
        lambda path, start: os.truncate(path, start + 99),
    ],
    ids=["length", "cut header", "cut before the content", "cut content"],
)
@pytest.mark.parametrize("take", [-1, 4])
def test_records_behind_a_lost_frame_get_placeholders(records, damage, take):
    start = starts()[1]
    damage(records, start)
    good, *rest = read(records, take=take)
    assert good == expected(0, IMAGES[0])
    # One for each record if their number is known.
    assert [lost.key for lost in rest] == [b"data#1", b"data#2", b"data#3"][: abs(take)]
    for lost in rest:
        assert lost.status == CORRUPT_RECORD
        assert f"byte {start} " in lost.error


def test_a_file_with_fewer_records_than_it_should_have(records):
    *good, lost = read(records, take=5)
    assert good == [expected(i, image) for i, image in enumerate(IMAGES)]
    assert (lost.key, lost.status) == (b"data#4", CORRUPT_RECORD)
    assert {"4", "5"} <= set(lost.error.split())
    assert [e.status for e in read(records, skip=3, take=2)] == [OK, CORRUPT_RECORD]
    assert [e.status for e in read(records, skip=9, take=2)] == [CORRUPT_RECORD] * 2


def test_a_file_with_more_records_than_it_should_have(records):
    assert len(read(records, take=3)) == 3  # A part of the file.
    *good, extra = read(records, take=3, to_end=True)
    assert [e.status for e in good] == [OK] * 3
    assert (extra.key, extra.status) == (b"data#3", CORRUPT_RECORD)
    assert [e.status for e in read(records, skip=2, take=2, to_end=True)] == [OK] * 2


def write_raw(path, *records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


def feature(**kind):
    return tf.train.Feature(**kind)


@pytest.mark.parametrize(
    ("features", "named"),
    [
        ({}, ""),
        ({"b": feature(), "a": feature()}, "'a', 'b'"),
        ({"image/encoded": feature()}, ""),
        ({"image/encoded": feature(float_list={"value": [1.0]})}, "float_list"),
        ({"image/encoded": feature(bytes_list={"value": [b"a", b"b"]})}, "2"),
        ({"image/encoded": feature(bytes_list={"value": []})}, "0"),
    ],
)
def test_records_without_exactly_one_image(tmp_path, features, named):
    example = tf.train.Example(features=tf.train.Features(feature=features))
    write_raw(tmp_path / "data", example.SerializeToString(), make_example(b"good"))
    bad, good = read(tmp_path / "data")
    assert bad == Example(b"data#0", b"", -1, BAD_RECORD, bad.error)
    assert "'image/encoded'" in bad.error
    assert bad.error.endswith(named)
    assert good == expected(1, b"good")


@pytest.mark.parametrize(
    ("name", "other", "status"),
    [
        ("image/encoded", {"int64_list": {"value": [0] * 2000}}, BAD_RECORD),
        ("image/encoded", {"bytes_list": {"value": [b""] * 2000}}, BAD_RECORD),
        ("a", {"int64_list": {"value": [0] * 2000}}, BAD_RECORD),
        ("a", {"bytes_list": {"value": [b"x" * 2000]}}, BAD_RECORD),
        ("z", {"int64_list": {"value": [0] * 900}}, OK),
        ("image/x", {"float_list": {"value": [0.5] * 200}}, OK),
    ],
)
def test_large_records_hold_little_but_the_image(
    tmp_path, monkeypatch, name, other, status
):
    monkeypatch.setattr(python_reader, "_MAX_OTHER_BYTES", 1000)
    image = {"image/encoded": feature(bytes_list={"value": [b"x" * 1500]})}
    features = {**image, "label": feature(int64_list={"value": [3]})}
    features[name] = feature(**other)
    example = tf.train.Example(features=tf.train.Features(feature=features))
    write_raw(tmp_path / "data", example.SerializeToString(), make_example(b"good"))
    first, good = read(tmp_path / "data")
    assert first.status == status
    assert first.image == (b"x" * 1500 if status == OK else b"")
    assert good == expected(1, b"good")


def test_a_record_that_is_no_example(tmp_path):
    write_raw(tmp_path / "data", b"\xff\xff\xff")
    (bad,) = read(tmp_path / "data")
    assert bad.status == BAD_RECORD
    assert "tf.train.Example" in bad.error


def test_several_labels_count_as_none(tmp_path):
    features = {
        "image/encoded": feature(bytes_list={"value": [b"a"]}),
        "image/class/label": feature(int64_list={"value": [3, 7]}),
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    write_raw(tmp_path / "data", example.SerializeToString())
    assert read(tmp_path / "data") == [expected(0, b"a")]


def test_random_damage_never_raises_and_never_invents(records):
    """A flipped byte anywhere costs a record, or the rest from there on."""
    content = records.read_bytes()
    good = [expected(i, image) for i, image in enumerate(IMAGES)]
    positions = {p for s in starts() for p in range(s - 6, s + 20)}
    for position in sorted(p for p in positions if 0 <= p < len(content)):
        records.write_bytes(content)
        overwrite(records, position, bytes([content[position] ^ 0x10]))
        found = read(records)
        assert all(example in good for example in found if example.status == OK)
        assert sum(example.status == OK for example in found) < len(good)
        assert found[-1].status in (OK, CORRUPT_RECORD)
        assert len({example.key for example in found}) == len(found)


@pytest.mark.parametrize("reader", READERS)
def test_files_that_are_not_there(tmp_path, reader, no_waiting):
    (found,) = read(tmp_path / "data", reader)
    assert (found.image, found.status) == (b"", MISSING)
    assert found.error == os.strerror(errno.ENOENT)
    assert not no_waiting


@pytest.mark.parametrize("reader", READERS)
def test_a_folder_is_no_file(tmp_path, reader, no_waiting):
    (found,) = read(tmp_path, reader)
    assert (found.status, found.error) == (UNREADABLE, os.strerror(errno.EISDIR))


def test_a_lost_file_of_a_known_number_of_records(tmp_path):
    found = read(tmp_path / "data", skip=2, take=3)
    assert [example.key for example in found] == [b"data#2", b"data#3", b"data#4"]
    assert {example.status for example in found} == {MISSING}


class Failing:
    """Opens files whose reading fails at given positions."""

    def __init__(self, monkeypatch, *errors):
        self._errors = list(errors)
        self._open = opening._open
        monkeypatch.setattr(opening, "_open", self.open)

    def open(self, path):
        file = self._open(path)
        failing = self

        class File(io.RawIOBase):
            def readinto(self, buffer):
                failing.fail(file.tell())
                return file.readinto(buffer)

            def read(self, size=-1):
                failing.fail(file.tell())
                return file.read(size)

            def seek(self, offset):
                return file.seek(offset)

            def close(self):
                file.close()
                super().close()

        return File()

    def fail(self, position):
        if self._errors and position >= self._errors[0][0]:
            raise self._errors.pop(0)[1]


RESET = ConnectionResetError(errno.ECONNRESET, "reset")


@pytest.mark.parametrize("reader", ["folder", "tfrecord"])
@pytest.mark.parametrize("error", [RESET, TimeoutError("slow"), OSError("503")])
def test_transient_errors_are_retried(records, monkeypatch, no_waiting, reader, error):
    undisturbed = read(records, reader)
    places = (0, 0, 200_000) if reader == "tfrecord" else (0, 0)
    Failing(monkeypatch, *((place, error) for place in places))
    assert read(records, reader) == undisturbed
    waits = retry.DELAYS
    assert no_waiting == [*waits[:2], *(waits[:1] if reader == "tfrecord" else ())]


@pytest.mark.parametrize("reader", READERS)
def test_persisting_transient_errors_are_raised(
    records, monkeypatch, no_waiting, reader
):
    Failing(monkeypatch, *[(0, RESET)] * 9)
    with pytest.raises(ConnectionResetError):
        read(records, reader)
    assert no_waiting == list(retry.DELAYS)


@pytest.mark.parametrize(
    ("number", "is_retried"), [(errno.EACCES, False), (errno.EIO, True)]
)
def test_permanent_errors_become_a_status(
    records, monkeypatch, no_waiting, number, is_retried
):
    error = OSError(number, os.strerror(number))
    Failing(monkeypatch, *[(200_000, error)] * 9)
    *good, lost = read(records)
    assert [example.image for example in good] == IMAGES[:3]
    assert (lost.key, lost.status) == (b"data#3", UNREADABLE)
    assert bool(no_waiting) == is_retried


def test_a_forbidden_file(tmp_path, no_waiting):
    path = tmp_path / "data"
    path.write_bytes(b"secret")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("everything is allowed to this user")
    (found,) = read(path, "folder")
    assert (found.status, found.error) == (UNREADABLE, os.strerror(errno.EACCES))


def test_an_image_of_gigabytes_is_not_read(tmp_path):
    (found,) = read(tmp_path / "data", "folder", size=2**40)
    assert found.status == UNREADABLE
    assert f"{2**40:,}" in found.error


def test_remote_files_are_read_ahead_and_stay_in_order(monkeypatch):
    class Slow(FolderReader):
        def examples(self, file):
            time.sleep(0.02 * (file.label % 3))
            yield Example(file.name.encode(), b"x", file.label)

    files = [File(path=f"gs://b/{i}", name=str(i), take=1, label=i) for i in range(50)]
    found = list(read_examples(Slow(), files))
    assert [example.label for example in found] == list(range(50))


def test_few_large_files_are_read_ahead(monkeypatch):
    """The images in memory at once are those of one batch, or a single larger one."""
    monkeypatch.setattr(python_reader, "_MAX_BATCH_BYTES", 100)
    begun, taken, held = [], [], []

    class Watched(FolderReader):
        def examples(self, file):
            begun.append(file.size)
            held.append(sum(begun) - sum(taken))
            yield Example(b"", b"x", file.size)

    sizes = [10] * 20 + [60, 60, 300, 10, 95]
    files = [File(path="gs://b/x", name="x", take=1, size=size) for size in sizes]
    for example in read_examples(Watched(), files):
        taken.append(example.label)
    assert sorted(taken) == sorted(sizes)
    # One that was taken from the queue is not counted by it.
    assert max(held) <= 300 + 100


# WebDatasets.

MEMBERS = [
    ("a/000.jpg", b"first"),
    ("a/000.cls", b"2\n"),
    ("a/000.json", b"{}"),
    ("a/001.cls", b"many"),
    ("a/001.PNG", b"second"),
    ("__meta__.json", b"{}"),
    ("b/000.seg.png", b"third"),
]


def test_samples_of_a_tar_file(tmp_path):
    write_tar(tmp_path / "data", MEMBERS)
    first, second, third = read(tmp_path / "data", "webdataset")
    assert first == Example(b"data#0/a/000", b"first", 2)
    assert second == Example(b"data#1/a/001", b"second", -1)
    # An extension starts at the first dot.
    assert (third.key, third.status) == (b"data#2/b/000", BAD_RECORD)
    assert "0" in third.error
    assert "'seg.png'" in third.error


def test_samples_of_the_same_name_have_different_keys(tmp_path):
    write_tar(tmp_path / "data", [("x.jpg", b"1"), ("y.jpg", b"2"), ("x.jpg", b"3")])
    found = read(tmp_path / "data", "webdataset")
    assert [example.image for example in found] == [b"1", b"2", b"3"]
    assert len({example.key for example in found}) == 3


def test_odd_samples_are_rows(tmp_path):
    names = ["0.txt", "1.jpg", "1.png", "../../etc/2.jpg", "3\udcff.jpg"]
    write_tar(tmp_path / "data", [(name, b"x") for name in names])
    found = read(tmp_path / "data", "webdataset")
    assert [example.status for example in found] == [BAD_RECORD, BAD_RECORD, OK, OK]
    assert "'jpg', 'png'" in found[1].error
    assert found[2].key == b"data#2/../../etc/2"
    assert found[3].key == b"data#3/3\xff"
    assert key_text(found[3].key) == r"data#3/3\xff"


def test_a_link_in_a_tar_file_is_a_row(tmp_path):
    with tarfile.open(tmp_path / "data", "w") as tar:
        link = tarfile.TarInfo("b.jpg")
        link.type, link.linkname = tarfile.LNKTYPE, "a.jpg"
        tar.addfile(link)
    (found,) = read(tmp_path / "data", "webdataset")
    assert found.status == BAD_RECORD
    assert "'a.jpg'" in found.error


@pytest.mark.parametrize(
    "length", [700, 1024, 1600, 1800, 2048 + 512], ids=lambda n: f"{n} bytes"
)
def test_a_cut_tar_file_gives_what_is_there(tmp_path, length):
    write_tar(tmp_path / "data", [(f"{i}.jpg", b"%d" % i * 600) for i in range(3)])
    os.truncate(tmp_path / "data", length)
    *good, last = read(tmp_path / "data", "webdataset")
    assert [example.image for example in good] == [b"0" * 600][: length >= 1536]
    assert last.status == CORRUPT_RECORD
    assert last.key == b"data#%d" % len(good)
    assert re.search(r"byte \d", last.error)


@pytest.mark.parametrize(
    "content",
    [b"", b"no tar file" * 100, gzip.compress(b"x", mtime=0)],
    ids=["empty", "text", "gzip"],
)
def test_what_is_no_tar_file_is_one_row(tmp_path, content):
    (tmp_path / "data").write_bytes(content)
    (found,) = read(tmp_path / "data", "webdataset")
    assert found.status == CORRUPT_RECORD


def test_paths_of_any_file_system_are_read(tmp_path):
    path = epath.Path(tmp_path) / "data"
    path.write_bytes(b"x")
    assert opening.open_file(File(path=str(path), name="data")).read()
