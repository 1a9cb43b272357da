"""Reading of bytes that are not trusted.

A length that a file claims never decides how much memory is taken, and what is
decompressed is bounded by what was compressed.
"""

from __future__ import annotations

import bz2
import contextlib
import functools
import io
import lzma
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

#: Bytes to read at once of a length that may be wrong; more than most images have.
_CHUNK = 2**24
#: Shorter distances are read, which takes less time than to seek.
_SHORT = 2**16
#: Largest seek in bytes; a wrong length may exceed the largest file offset.
_SEEK_LIMIT = 2**40
#: Bytes to give to a decompressor at once, and to read for several of these.
_SLICE, _INPUT = 2**15, 2**18
#: Decompressed bytes above which a file's ratio is compared with the largest; images
#: are compressed already, but those of one color as BMP reach a thousand.
_FREE_BYTES = 2**30
_MAX_RATIO = 100
_MAX_LZMA_MEMORY = 2**28
#: zlib's code for detecting either a gzip or a zlib header.
EITHER_HEADER = 32 + zlib.MAX_WBITS


class ContentError(Exception):
    """The bytes of a file are not what its format requires."""


def read_up_to(stream: BinaryIO, count: int) -> bytes:
    """Returns the next bytes, fewer at the end of the file.

    Memory grows with the bytes that are there, not with `count`.
    """
    if count <= _CHUNK:
        return stream.read(count)
    chunks = []
    while count and (chunk := stream.read(min(count, _CHUNK))):
        chunks.append(chunk)
        count -= len(chunk)
    return b"".join(chunks)


def skip(stream: BinaryIO, count: int) -> bool:
    """Skips bytes; returns whether they are all there."""
    if count > _SHORT and count < _SEEK_LIMIT and stream.seekable():
        # The last byte is read, because seeking behind the end is no error.
        stream.seek(count - 1, io.SEEK_CUR)
        count = 1
    while count:
        skipped = len(stream.read(min(count, _INPUT)))
        if not skipped:
            return False
        count -= skipped
    return True


def inflated(stream: BinaryIO) -> io.BufferedReader:
    """Returns the content of a file that gzip or zlib has compressed."""
    return _decompressed(stream, _Inflate)


def decompressed(stream: io.BufferedReader) -> io.BufferedReader:
    """Returns the content of a file that may be compressed by gzip, bzip2 or xz.

    The file is at its beginning, whose bytes tell.
    """
    head = stream.read(10)
    stream.seek(0)
    if head.startswith(b"\x1f\x8b\x08"):
        return inflated(stream)
    if head.startswith(b"BZh") and head[4:] in (b"1AY&SY", b"\x17rE8P\x90"):
        return _decompressed(stream, bz2.BZ2Decompressor)
    if head.startswith((b"\xfd7zXZ\0", b"]\0\0\x80")):
        return _decompressed(
            stream, functools.partial(lzma.LZMADecompressor, memlimit=_MAX_LZMA_MEMORY)
        )
    return stream


def _decompressed(stream: BinaryIO, make: Callable[[], Any]) -> io.BufferedReader:
    return io.BufferedReader(_Decompressing(stream, make), _INPUT)


class _Inflate:
    """Decompresses gzip or zlib, with the interface of `bz2` and `lzma`.

    What is in front of an error is returned before that is raised.
    """

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(EITHER_HEADER)
        self._error: zlib.error | None = None

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not (self._zlib.unconsumed_tail or self._error)

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, content: bytes, max_length: int) -> bytes:
        if self._error is not None:
            raise self._error
        content = self._zlib.unconsumed_tail + content
        before = self._zlib.copy()
        try:
            return self._zlib.decompress(content, max_length)
        except zlib.error as error:
            self._error = error
            return _decompress_while_good(before, content)


def _decompress_while_good(decompressor: Any, content: bytes) -> bytes:
    """Returns what zlib makes of the bytes in front of the first wrong one."""
    made = []
    with contextlib.suppress(zlib.error):
        for byte in content:
            made.append(decompressor.decompress(bytes([byte])))
    return b"".join(made)


class _Decompressing(io.RawIOBase):
    """Decompresses concatenated streams, with zeros between and behind them.

    Raises ContentError if one is broken or cut off, or is a decompression bomb.

    Args:
        stream: Compressed file.
        make: Returns the decompressor of one stream.
    """

    def __init__(self, stream: BinaryIO, make: Callable[[], Any]) -> None:
        self._stream = stream
        self._make = make
        self._decompressor = make()
        self._input = b""
        self._start = 0  # Of the input that is not used yet.
        self._num_read = self._num_made = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while True:
            if self._decompressor.eof and not self._begin_next():
                return 0
            content = b""
            if self._decompressor.needs_input:
                content = self._take()
                if not content:
                    raise ContentError("the compressed data ends too early")
            try:
                length = min(len(buffer), _SLICE)
                made = self._decompressor.decompress(content, length)
            except (zlib.error, lzma.LZMAError, OSError) as error:  # Of bzip2.
                raise ContentError(str(error)) from error
            if made:
                self._check_ratio(len(made))
                buffer[: len(made)] = made
                return len(made)

    def _take(self) -> bytes:
        """Returns the next bytes of the file.

        They are few, because a decompressor copies those behind the end of its stream.
        """
        if self._start >= len(self._input):
            self._input, self._start = self._stream.read(_INPUT), 0
            self._num_read += len(self._input)
        taken = self._input[self._start : self._start + _SLICE]
        self._start += len(taken)
        return taken

    def _begin_next(self) -> bool:
        """Begins the next stream; returns whether there is one."""
        self._start -= len(self._decompressor.unused_data)
        while taken := self._take():
            if begin := taken.lstrip(b"\0"):
                self._start -= len(begin)
                self._decompressor = self._make()
                return True
        return False

    def _check_ratio(self, count: int) -> None:
        self._num_made += count
        if self._num_made > _FREE_BYTES + _MAX_RATIO * self._num_read:
            raise ContentError(
                f"it decompresses to more than {_MAX_RATIO} times its size"
            )
