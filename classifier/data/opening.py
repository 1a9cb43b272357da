"""Opening of listed files: regular ones only, unchanged since they were listed.

Transient errors are retried. What stays wrong with a file is a status and a reason.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import io
import os
import stat
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from etils import epath

from classifier.data.examples import File
from classifier.data.tfrecord import MAX_LENGTH
from stage.retry import retrying
from stage.status import CHANGED, MISSING, UNREADABLE

_STATUS_OF_ERROR = {
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR), MISSING),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EISDIR), UNREADABLE),
    **dict.fromkeys((errno.ELOOP, errno.ENAMETOOLONG), UNREADABLE),
    **dict.fromkeys((errno.ENXIO, errno.ENODEV), UNREADABLE),
    # These remain after several tries if the disk or its file system is broken there.
    **dict.fromkeys((errno.EIO, errno.EUCLEAN, errno.EBADMSG), UNREADABLE),
}
#: Of the codes of TensorFlow's errors: NOT_FOUND, PERMISSION_DENIED, UNAUTHENTICATED.
_ERRNO_OF_CODE = {5: errno.ENOENT, 7: errno.EACCES, 16: errno.EACCES}
_BUFFER = 2**18
_SECOND = 10**9
#: Largest time in nanoseconds that 64 bits hold, in the year 2262.
_MAX_TIME = 2**63 - 1


class FileError(Exception):
    """A file that another attempt will not read either.

    Attributes:
        status: Status of its images.
        reason: Description of the error.
    """

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason


def status_of(error: OSError | FileError) -> tuple[str, str]:
    """Returns the status and reason of a permanent error; raises any other."""
    if isinstance(error, FileError):
        return error.status, error.reason
    status = _STATUS_OF_ERROR.get(error.errno or 0)
    if status is None:
        raise error
    return status, error.strerror or str(error)


def modified_ns(state: os.stat_result) -> int:
    """Returns the modification time in nanoseconds since 1970, within 64 bits."""
    return min(max(state.st_mtime_ns, 0), _MAX_TIME)


def difference(size: int, mtime_ns: int, new_size: int, new_mtime_ns: int) -> str:
    """Returns how size and time of a file differ, "" if they do not.

    A value of -1 is unknown. Copies may have times without fractions of a second.
    """
    if size != new_size and min(size, new_size) >= 0:
        return f"had {size:,} bytes, has {new_size:,}"
    if mtime_ns != new_mtime_ns and min(mtime_ns, new_mtime_ns) >= 0:
        is_same_second = mtime_ns // _SECOND == new_mtime_ns // _SECOND
        is_rounded = 0 in (mtime_ns % _SECOND, new_mtime_ns % _SECOND)
        if not (is_same_second and is_rounded):
            return f"was modified {_time(mtime_ns)}, is now of {_time(new_mtime_ns)}"
    return ""


def open_file(file: File) -> io.BufferedReader:
    """Opens a file whose reads survive transient errors that do not persist.

    Reading raises FileError if the file is not what it was when it was listed, opened,
    or opened again.
    """
    return io.BufferedReader(_RetryingFile(file), _BUFFER)


def read_file(file: File) -> bytes:
    """Returns the content of a file, which must not exceed `MAX_LENGTH`.

    Raises FileError as for `open_file`, OSError as the file system does.
    """
    _check_length(file.size)
    return retrying(lambda: _read_whole(file))


class _RetryingFile(io.RawIOBase):
    """A file that is reopened at the current position after a transient error."""

    def __init__(self, file: File) -> None:
        self._listed = file
        self._position = 0
        self._file: BinaryIO | None = None
        self._file = retrying(lambda: _open(file))
        self._size, self._mtime_ns = _state(self._file)
        if self._size < 0:
            self._size = file.size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._size >= 0:
            # What is appended meanwhile does not count, and may have no end.
            # A slice of a `bytearray`, which it may be, would be a copy.
            buffer = memoryview(buffer)[: max(self._size - self._position, 0)]
        count = retrying(lambda: self._readinto(buffer))
        self._position += count
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            if self._size < 0:  # Nobody has listed or asked for it.
                self._size = retrying(self._seek_end)
            offset += self._size
        self._position = offset + (self._position if whence == io.SEEK_CUR else 0)
        try:
            if self._file is not None:
                self._file.seek(self._position)
        except OSError:
            self._drop()  # The next read reopens it at this position.
        return self._position

    def close(self) -> None:
        self._drop()
        super().close()

    def _seek_end(self) -> int:
        try:
            return self._opened().seek(0, io.SEEK_END)
        except OSError:
            self._drop()
            raise

    def _opened(self) -> BinaryIO:
        if self._file is None:
            self._file = _open(self._listed)
            self._file.seek(self._position)
        return self._file

    def _readinto(self, buffer: memoryview) -> int:
        try:
            file = self._opened()
            count = file.readinto(buffer) or 0  # type: ignore[attr-defined]
            if not count:
                self._check_end(file)
        except OSError:
            self._drop()
            raise
        return int(count)

    def _check_end(self, file: BinaryIO) -> None:
        """Raises FileError unless the file is still what it was when it was opened."""
        changed = difference(self._size, self._mtime_ns, *_state(file))
        if not changed and self._position < self._size:
            changed = f"had {self._size:,} bytes, ended after {self._position:,}"
        if changed:
            raise FileError(CHANGED, changed)

    def _drop(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


class _FileOfContext(io.RawIOBase):
    """The file of a context, as `epath` returns it for TensorFlow's file systems.

    TensorFlow's errors are raised as OSErrors.
    """

    def __init__(self, context: contextlib.AbstractContextManager[Any]) -> None:
        self._context = contextlib.ExitStack()
        with _os_errors():
            self._file = self._context.enter_context(context)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        with _os_errors():
            return bytes(self._file.read(size))

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with _os_errors():
            self._file.seek(offset, whence)
            return int(self._file.tell())

    def close(self) -> None:
        self._context.close()
        super().close()


@contextlib.contextmanager
def _os_errors() -> Iterator[None]:
    """Raises errors of TensorFlow as OSErrors."""
    try:
        yield
    except Exception as error:
        code = getattr(error, "error_code", None)
        if code is None:
            raise
        message = getattr(error, "message", str(error))
        raise OSError(_ERRNO_OF_CODE.get(code), message) from error


def _open(file: File) -> BinaryIO:
    """Opens a file without a buffer if it is local.

    Raises FileError unless it is a regular file and what it was when it was listed.
    """
    if "://" in file.path:
        opened: Any = epath.Path(file.path).open("rb")
        if not isinstance(opened, io.IOBase):
            opened = _FileOfContext(opened)
    elif "\0" in file.path:
        raise FileError(MISSING, f"no path of a file: {file.path!r}")
    else:
        opened = io.FileIO(file.path, opener=_open_at_once)
    try:
        _check(file, opened)
    except BaseException:
        opened.close()
        raise
    return cast(BinaryIO, opened)


def _open_at_once(path: str, flags: int) -> int:
    # Otherwise opening a pipe waits for a writer.
    return os.open(path, flags | os.O_NONBLOCK)


def _check(file: File, opened: BinaryIO) -> None:
    if "://" in file.path:
        if file.size < 0:
            return
        size, mtime_ns = opened.seek(0, io.SEEK_END), -1
        opened.seek(0)
    else:
        state = os.fstat(opened.fileno())
        if not stat.S_ISREG(state.st_mode):
            raise FileError(UNREADABLE, "not a regular file, but a pipe or a device")
        size, mtime_ns = state.st_size, modified_ns(state)
    if changed := difference(file.size, file.mtime_ns, size, mtime_ns):
        raise FileError(CHANGED, changed)


def _state(opened: BinaryIO) -> tuple[int, int]:
    """Returns the size and time of an opened local file, -1 of any other."""
    if not isinstance(opened, io.FileIO):
        return -1, -1
    state = os.fstat(opened.fileno())
    return state.st_size, modified_ns(state)


def _check_length(size: int) -> None:
    if size > MAX_LENGTH:
        raise FileError(UNREADABLE, f"{size:,} bytes are more than {MAX_LENGTH:,}")


def _read_whole(file: File) -> bytes:
    with _open(file) as opened:
        # A known size is that of the opened file.
        size = file.size if file.size >= 0 else _state(opened)[0]
        _check_length(size)
        content = opened.read(size if size >= 0 else MAX_LENGTH + 1)
        while 0 < len(content) < size and (more := opened.read(size - len(content))):
            content += more
    _check_length(len(content))
    if changed := difference(size, -1, len(content), -1):
        raise FileError(CHANGED, changed)
    return content


def _time(nanoseconds: int) -> str:
    seconds, fraction = divmod(nanoseconds, _SECOND)
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{fraction:09d} UTC"
