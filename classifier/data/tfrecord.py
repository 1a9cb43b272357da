"""The framing of TFRecord files: reading continues behind broken records.

A record is its length (8 bytes), the length's checksum (4), the content, and the
content's checksum (4); https://www.tensorflow.org/tutorials/load_data/tfrecord.
TensorFlow's own reader stops at the first wrong byte.
"""

from __future__ import annotations

import dataclasses
import itertools
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import google_crc32c

from classifier.data import streams
from classifier.data.streams import ContentError

#: Longest record in bytes that is read; a longer one cannot be an image.
MAX_LENGTH = 256 * 2**20
_HEADER = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")
_MASK_DELTA = 0xA282EAD8
_CHUNK = 2**18
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
        yield from _frames(streams.inflated(stream), "decompressed byte", skip)
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
    in the decompressed one, or there is no record. If it is wrong in both, the file
    extension decides.
    """
    head = stream.read(_CHUNK)
    stream.seek(0)
    if _is_header(head):
        return ""
    by_content = "GZIP" if head.startswith(_GZIP_MAGIC) else "ZLIB"
    inflate = zlib.decompressobj(streams.EITHER_HEADER)
    try:
        start = inflate.decompress(head, _HEADER.size)
    except zlib.error:
        return named_compression(name)
    has_no_record = inflate.eof and not start
    is_certain = has_no_record or _is_header(start)
    return by_content if is_certain else named_compression(name)


def named_compression(name: str) -> str:
    """Returns the compression that a file's extension stands for, see above."""
    return _COMPRESSION_OF_ENDING.get(name.lower().rpartition(".")[2], "")


def _frames(stream: BinaryIO, unit: str, skip: int) -> Iterator[bytes | Broken]:
    """Yields records and placeholders; stops behind one with `is_rest`."""
    start = 0
    for index in itertools.count():
        try:
            record = _next_frame(stream, is_wanted=index >= skip)
        except ContentError as error:
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
    Raises ContentError if the rest of the file cannot be read.
    """
    header = stream.read(_HEADER.size)
    if not header:
        return None
    if len(header) < _HEADER.size:
        raise ContentError("the file ends within a record")
    if not _is_header(header):
        raise ContentError("wrong checksum of a record's length")
    length = _HEADER.unpack(header)[0]
    if not is_wanted or length > MAX_LENGTH:
        if not streams.skip(stream, length + _CHECKSUM.size):
            raise ContentError("the file ends within a record")
        return f"a record of {length:,} bytes, more than {MAX_LENGTH:,}", length
    content = streams.read_up_to(stream, length)
    checksum = stream.read(_CHECKSUM.size)
    if len(checksum) < _CHECKSUM.size:
        raise ContentError("the file ends within a record")
    if _checksum(content) != _CHECKSUM.unpack(checksum)[0]:
        return "wrong checksum of a record's content", length
    return content, length


def _is_header(content: bytes) -> bool:
    if len(content) < _HEADER.size:
        return False
    checksum = _HEADER.unpack_from(content)[1]
    return bool(_checksum(content[:8]) == checksum)


def _checksum(content: bytes) -> int:
    """Returns the masked CRC-32C; masked, because the content may hold checksums."""
    crc = int(google_crc32c.value(content))
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF
