"""The framing of TFRecord files: reading continues behind broken records.

A record is its length (8 bytes), the length's checksum (4), the content, and the
content's checksum (4); https://www.tensorflow.org/tutorials/load_data/tfrecord.
TensorFlow's own reader stops at the first wrong byte.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import google_crc32c

#: Longest record in bytes that is read; a longer one cannot be an image.
MAX_LENGTH = 256 * 2**20
_HEADER = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")
_MASK_DELTA = 0xA282EAD8
#: zlib's code for detecting either a gzip or a zlib header.
_EITHER_HEADER = 32 + zlib.MAX_WBITS
_CHUNK = 2**18
#: Largest seek in bytes; a wrong length may exceed the largest file offset.
_SEEK_LIMIT = 2**40
_COMPRESSION_OF_ENDING = {"gz": "GZIP", "gzip": "GZIP", "zlib": "ZLIB", "zz": "ZLIB"}
_GZIP_MAGIC = b"\x1f\x8b"


@dataclasses.dataclass(frozen=True, slots=True)
class Broken:
    """Placeholder for a record that cannot be read.

    Attributes:
        reason: Description of the error, with the record's byte offset.
        is_rest: Whether all following records are lost, too.
    """

    reason: str
    is_rest: bool


def read_records(
    stream: BinaryIO, name: str, skip: int = 0
) -> Iterator[bytes | Broken]:
    """Yields the records of a file, compressed or not, in order.

    Args:
        stream: Seekable file at its beginning.
        name: File name; its extension indicates compression if the content does not.
        skip: Number of records to skip without reading them.
    """
    if find_compression(stream, name):
        inflated = io.BufferedReader(_Inflating(stream), _CHUNK)
        yield from _frames(inflated, "decompressed byte", skip)
    else:
        yield from _frames(stream, "byte", skip)


def write_record(stream: BinaryIO, content: bytes) -> None:
    """Writes one record."""
    length = struct.pack("<Q", len(content))
    stream.write(length + _CHECKSUM.pack(_checksum(length)))
    stream.write(content)
    stream.write(_CHECKSUM.pack(_checksum(content)))


def find_compression(stream: BinaryIO, name: str) -> str:
    """Returns the compression of a TFRecord file, GZIP, ZLIB or ""; seeks back to 0.

    The checksum of the first length decides: it is right either in the raw content or
    in the decompressed one. If it is wrong in both, the file extension decides.
    """
    head = stream.read(_CHUNK)
    stream.seek(0)
    if _is_header(head):
        return ""
    by_content = "GZIP" if head.startswith(_GZIP_MAGIC) else "ZLIB"
    try:
        start = zlib.decompressobj(_EITHER_HEADER).decompress(head, _HEADER.size)
    except zlib.error:
        start = b""
    return by_content if _is_header(start) else named_compression(name)


def named_compression(name: str) -> str:
    """Returns the compression that a file's extension stands for, see above."""
    return _COMPRESSION_OF_ENDING.get(name.lower().rpartition(".")[2], "")


class _Inflating(io.RawIOBase):
    """Decompresses concatenated gzip or zlib streams; raises EOFError if cut off."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._inflate = zlib.decompressobj(_EITHER_HEADER)
        self._pending = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while True:
            self._pending = self._pending or self._stream.read(_CHUNK)
            if self._inflate.eof:
                self._pending = self._pending.lstrip(b"\0")  # Some writers pad.
                if not self._pending:
                    return 0
                self._inflate = zlib.decompressobj(_EITHER_HEADER)
            elif not self._pending:
                raise EOFError("the compressed data ends too early")
            content = self._inflate.decompress(self._pending, len(buffer))
            self._pending = self._inflate.unconsumed_tail or self._inflate.unused_data
            if content:
                buffer[: len(content)] = content
                return len(content)


def _frames(stream: BinaryIO, unit: str, skip: int) -> Iterator[bytes | Broken]:
    """Yields records and placeholders; stops behind one with `is_rest`."""
    start = 0
    for index in itertools.count():
        try:
            record = _next_frame(stream, is_wanted=index >= skip)
        except (EOFError, zlib.error) as error:
            yield Broken(f"{error}, from {unit} {start:,} on", is_rest=True)
            return
        if record is None:
            return
        content, length = record
        if index >= skip:
            if isinstance(content, str):
                yield Broken(f"{content}, at {unit} {start:,}", is_rest=False)
            else:
                yield content
        start += _HEADER.size + length + _CHECKSUM.size


def _next_frame(stream: BinaryIO, *, is_wanted: bool) -> tuple[bytes | str, int] | None:
    """Returns the next record, or what is wrong with it, and its length.

    Returns None at the end of the file. The content of an unwanted record is not read.
    Raises EOFError or zlib.error if the rest of the file cannot be read.
    """
    header = stream.read(_HEADER.size)
    if not header:
        return None
    if len(header) < _HEADER.size:
        raise EOFError("the file ends within a record")
    if not _is_header(header):
        raise EOFError("wrong checksum of a record's length")
    length = _HEADER.unpack(header)[0]
    if not is_wanted or length > MAX_LENGTH:
        _skip(stream, length + _CHECKSUM.size)
        return f"a record of {length:,} bytes, more than {MAX_LENGTH:,}", length
    content = stream.read(length)
    checksum = stream.read(_CHECKSUM.size)
    if len(checksum) < _CHECKSUM.size:
        raise EOFError("the file ends within a record")
    if _checksum(content) != _CHECKSUM.unpack(checksum)[0]:
        return "wrong checksum of a record's content", length
    return content, length


def _skip(stream: BinaryIO, count: int) -> None:
    if stream.seekable() and count < _SEEK_LIMIT:
        # The last byte is read, because seeking behind the end is no error.
        stream.seek(count - 1, io.SEEK_CUR)
        count = 1
    while count:
        skipped = len(stream.read(min(count, _CHUNK)))
        if not skipped:
            raise EOFError("the file ends within a record")
        count -= skipped


def _is_header(content: bytes) -> bool:
    if len(content) < _HEADER.size:
        return False
    checksum = _HEADER.unpack_from(content)[1]
    return bool(_checksum(content[:8]) == checksum)


def _checksum(content: bytes) -> int:
    """Returns the masked CRC-32C; masked, because the content may hold checksums."""
    crc = int(google_crc32c.value(content))
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF
