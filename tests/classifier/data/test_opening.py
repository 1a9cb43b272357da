"""Opening of files that are other ones than were listed, or none at all."""

import errno
import io
import os
import socket

import pytest
import tensorflow as tf

from classifier.data import opening
from classifier.data.examples import File
from classifier.data.opening import FileError
from classifier.data.tfrecord import MAX_LENGTH
from stage import retry
from stage.status import CHANGED, MISSING, UNREADABLE

CONTENT = bytes(range(256)) * 4000


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(retry, "DELAYS", [0.0])


@pytest.fixture
def path(tmp_path):
    (tmp_path / "data").write_bytes(CONTENT)
    return tmp_path / "data"


def listed(path, **other):
    state = os.stat(path)
    fields = {"size": state.st_size, "mtime_ns": opening.modified_ns(state)}
    return File(path=str(path), name="data", **{**fields, **other})


def read_all(file):
    with opening.open_file(file) as stream:
        return stream.read()


READERS = pytest.mark.parametrize("read", [opening.read_file, read_all])


def fails(read, file):
    with pytest.raises((FileError, OSError)) as failure:
        read(file)
    return opening.status_of(failure.value)


@READERS
@pytest.mark.parametrize("other", [{}, {"size": -1}, {"mtime_ns": -1}])
def test_an_unchanged_file(path, read, other):
    assert read(listed(path, **other)) == CONTENT


@READERS
@pytest.mark.parametrize("size", [1, len(CONTENT) - 1, len(CONTENT) + 1])
def test_another_size(path, read, size):
    status, reason = fails(read, listed(path, size=size))
    assert status == CHANGED
    assert f"{size:,}" in reason
    assert f"{len(CONTENT):,}" in reason


@READERS
def test_another_time(path, read):
    file = listed(path)
    os.utime(path, ns=(0, 1_700_000_000_123_456_789))
    status, reason = fails(read, file)
    assert status == CHANGED
    assert "2023-11-14 22:13:20.123456789" in reason


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (1_700_000_000_000_000_000, 1_700_000_000_123_456_789, True),
        (1_700_000_000_123_456_788, 1_700_000_000_123_456_789, False),
        (1_700_000_000_000_000_000, 1_700_000_001_000_000_000, False),
        (-1, 1_700_000_000_123_456_789, True),
        (0, 2**63 - 1, False),
    ],
)
def test_times_of_copies_may_be_whole_seconds(one, other, is_same):
    assert (not opening.difference(7, one, 7, other)) == is_same
    assert (not opening.difference(7, other, 7, one)) == is_same


@pytest.mark.parametrize("seconds", [-5, 10**10])
def test_times_of_other_centuries(path, seconds):
    os.utime(path, (seconds, seconds))
    file = listed(path)
    assert 0 <= file.mtime_ns < 2**63
    assert opening.read_file(file) == CONTENT


def make_pipe(path):
    os.mkfifo(path)


def make_socket(path):
    socket.socket(socket.AF_UNIX).bind(str(path))


def link_to(target):
    return lambda path: path.symlink_to(target)


NO_FILES = {
    "pipe": make_pipe,
    "socket": make_socket,
    "endless device": link_to("/dev/zero"),
    "terminal": link_to("/dev/tty"),
    "folder": lambda path: path.mkdir(),
}


@READERS
@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_not_read(tmp_path, monkeypatch, read, kind):
    monkeypatch.chdir(tmp_path)  # A socket's path must be short.
    NO_FILES[kind](tmp_path / "data")
    file = File(path="data", name="data", size=7, mtime_ns=7)
    assert fails(read, file)[0] == UNREADABLE


@READERS
@pytest.mark.parametrize("path", ["/proc/kmsg", "/proc/self/maps"])
def test_files_of_the_kernel_have_their_size(read, path):
    if not os.access(path, os.R_OK):
        pytest.skip("not on this system")
    assert read(File(path=path, name="data")) == b""


def test_an_image_of_gigabytes(path):
    os.truncate(path, MAX_LENGTH + 1)
    for size in (-1, MAX_LENGTH + 1):
        status, reason = fails(opening.read_file, listed(path, size=size))
        assert status == UNREADABLE
        assert f"{MAX_LENGTH:,}" in reason


@pytest.mark.parametrize("size", [0, 500_000, len(CONTENT) - 1])
def test_a_file_that_shrinks_while_it_is_read(path, size):
    with opening.open_file(listed(path)) as stream:
        assert stream.read(1000) == CONTENT[:1000]
        os.truncate(path, size)
        with pytest.raises(FileError) as failure:
            stream.read()
    assert failure.value.status == CHANGED


@pytest.mark.parametrize("change", ["append", "overwrite"])
def test_a_file_that_is_written_while_it_is_read(path, change):
    os.utime(path, ns=(7, 7))
    with opening.open_file(listed(path)) as stream:
        stream.read(1000)
        with path.open("ab" if change == "append" else "r+b") as file:
            file.write(b"more")
        # What was there is read, then its end is an error.
        stream.read(len(CONTENT) - 1000)
        with pytest.raises(FileError) as failure:
            stream.read(1)
    assert failure.value.status == CHANGED


def test_another_file_behind_a_transient_error(path):
    file = listed(path, size=-1, mtime_ns=-1)
    with opening.open_file(file) as stream:
        stream.read(1000)
        path.unlink()
        path.write_bytes(CONTENT + b"more")
        stream.raw._drop()  # As an error does.
        with pytest.raises(FileError) as failure:
            stream.read()
    assert failure.value.status == CHANGED


def test_a_short_read_goes_on(path, monkeypatch):
    class Slow(io.FileIO):
        def read(self, size=-1):
            return super().read(min(size, 100_000))

    monkeypatch.setattr(io, "FileIO", Slow)
    assert opening.read_file(listed(path)) == CONTENT


@pytest.mark.parametrize("number", [errno.EUCLEAN, errno.ENXIO, errno.ENODEV])
def test_errors_of_a_file_alone(number):
    error = OSError(number, os.strerror(number))
    assert opening.status_of(error) == (UNREADABLE, os.strerror(number))


@READERS
def test_a_path_that_no_file_can_have(read):
    status, reason = fails(read, File(path="a\0b", name="data"))
    assert status == MISSING
    assert r"a\x00b" in reason


@READERS
def test_an_object_is_read_by_the_file_system_of_tensorflow(bucket, path, read):
    assert read(File(path=bucket.address(path), name="data")) == CONTENT


def test_an_object_has_positions(bucket, path):
    with opening.open_file(File(path=bucket.address(path), name="data")) as stream:
        assert stream.read(3) == CONTENT[:3]
        assert stream.seek(1000) == stream.tell() == 1000
        assert stream.read() == CONTENT[1000:]


@READERS
@pytest.mark.parametrize(
    ("code", "status"), [(5, MISSING), (7, UNREADABLE), (16, UNREADABLE)]
)
def test_errors_of_tensorflow_are_those_of_files(
    bucket, path, read, code, status, monkeypatch
):
    def fail(*_):
        raise tf.errors.OpError(None, None, "no", code)

    monkeypatch.setattr(tf.io.gfile.GFile, "read", fail)
    file = File(path=bucket.address(path), name="data")
    assert fails(read, file) == (status, "no")


@READERS
def test_a_transient_error_of_tensorflow_is_retried(bucket, path, read, monkeypatch):
    failures = [tf.errors.UnavailableError(None, None, "not now")]
    original = tf.io.gfile.GFile.read

    def read_at_second(self, size=-1):
        if failures:
            raise failures.pop()
        return original(self, size)

    monkeypatch.setattr(tf.io.gfile.GFile, "read", read_at_second)
    assert read(File(path=bucket.address(path), name="data")) == CONTENT
    assert not failures
