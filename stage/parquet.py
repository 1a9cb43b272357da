"""Parquet files in which damage is found when they are read.

Parquet's own checksums are those of pages: neither page headers nor the footer have
any. The footer therefore holds two kinds more. `column_checksums` are those of the
values of each column of each row group, with which what was read is compared.
`footer_checksum` is that of the footer's bytes, its own digits taken as zeros. It is
compared before Arrow parses the footer, because some damage ends the process there.
"""

from __future__ import annotations

import contextlib
import io
import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import google_crc32c
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from etils import epath

from stage import artifact

#: Key of the footer's metadata: JSON of the checksums of row groups by column.
CHECKSUMS = b"column_checksums"
_FOOTER_CHECKSUM = b"footer_checksum"
_OWNER = b"owner"
_DIGITS = 8
_FORMAT = f"{{:0{_DIGITS}x}}"
#: Key and value as they lie in the footer, up to the digits: Thrift's compact protocol
#: has a type and a length before each.
_MARK = b"\x18%c%b\x18%c" % (len(_FOOTER_CHECKSUM), _FOOTER_CHECKSUM, _DIGITS)
_MAGIC = b"PAR1"
_TAIL = struct.Struct("<I4s")
#: Bytes at the end of a file that are read at once; a footer has 3 kB for a row group.
_TAIL_BYTES = 2**14
_GROUP_ROWS = 2**20
#: Characters of an error of Arrow, which may quote what is damaged.
_MAX_WORDS = 300


class ChecksumWriter:
    """Writes tables as row groups, with checksums; a context manager.

    `options` are those of `pq.ParquetWriter`.
    """

    def __init__(self, file: Any, schema: pa.Schema, **options: Any) -> None:
        self._sink = _Sink(file)
        self._writer = pq.ParquetWriter(
            self._sink, schema.remove_metadata(), write_page_checksum=True, **options
        )
        self._checksums: dict[str, list[int]] = {name: [] for name in schema.names}

    def __enter__(self) -> ChecksumWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write(self, table: pa.Table) -> None:
        """Writes a table as one row group."""
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        for name, checksums in self._checksums.items():
            checksums.append(checksum(table[name]))

    def finish(self, metadata: Mapping[bytes, bytes]) -> None:
        """Writes the footer, with keys and values."""
        zeros = b"0" * _DIGITS
        self._writer.add_key_value_metadata(
            {
                **metadata,
                CHECKSUMS: json.dumps(self._checksums).encode(),
                _FOOTER_CHECKSUM: zeros,
            }
        )
        with self._sink.holding() as held:
            self._writer.close()
            content = held.getvalue()
            length, _ = _TAIL.unpack_from(content, len(content) - _TAIL.size)
            start = len(content) - _TAIL.size - length
            at = content.rindex(_MARK + zeros) + len(_MARK)
            digits = _digits(content[start : -_TAIL.size])
            self._sink.file.write(content[:at] + digits + content[at + _DIGITS :])


class _Sink(io.RawIOBase):
    """Passes bytes on to a file, or holds them back."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self._held: io.BytesIO | None = None

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        (self.file if self._held is None else self._held).write(content)
        return len(content)

    @contextlib.contextmanager
    def holding(self) -> Iterator[io.BytesIO]:
        """Yields what gets the bytes that are written meanwhile."""
        self._held = io.BytesIO()
        yield self._held
        self._held = None


class ChecksumReader:
    """An open Parquet file, read one row group at a time.

    Methods raise ValueError, or an error of Arrow, if the file is broken.

    Attributes:
        footer: The file's footer, as pyarrow reads it.
        metadata: Keys and values in the footer.
        has_checksums: Whether there are checksums; files of old versions have none.
    """

    def __init__(self, file: Any, footer: Any = None) -> None:
        """Opens a binary file or Arrow buffer; reads its footer, unless given."""
        self.footer = read_footer(file) if footer is None else footer
        self._file = pq.ParquetFile(
            file, metadata=self.footer, page_checksum_verification=True
        )
        self.metadata: dict[bytes, bytes] = self.footer.metadata or {}
        self.has_checksums = CHECKSUMS in self.metadata
        if self.has_checksums:
            self._checksums = json.loads(self.metadata[CHECKSUMS])

    def read(
        self,
        columns: Sequence[str] | None = None,
        groups: Sequence[int] | None = None,
    ) -> Iterator[pa.Table]:
        """Yields columns of row groups, by default all of all; KeyError without one.

        Arrow's threads are not used: one that releases a Python buffer while the
        interpreter exits would crash the process.
        """
        for group in range(self.footer.num_row_groups) if groups is None else groups:
            table = self._file.read_row_group(group, columns=columns, use_threads=False)
            table = table.replace_schema_metadata(None)
            table = table if columns is None else table.select(list(columns))
            if self.has_checksums:
                self._check(group, table)
            yield table

    def read_all(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Returns columns of all rows; KeyError without one."""
        none = self._file.schema_arrow.remove_metadata().empty_table()
        none = none if columns is None else none.select(list(columns))
        return pa.concat_tables([none, *self.read(columns)])

    def _check(self, group: int, table: pa.Table) -> None:
        for name in table.schema.names:
            if checksum(table[name]) != self._checksums[name][group]:
                raise ValueError(f"wrong checksum of column {name!r}")


def read_footer(file: Any) -> Any:
    """Returns the footer of an open binary file or Arrow buffer, as pyarrow reads it.

    Raises ValueError if it differs from its checksum.
    """
    source = file if isinstance(file, pa.NativeFile) else pa.PythonFile(file, mode="r")
    size = source.size()

    def read_end(count: int) -> bytes:
        source.seek(max(0, size - count))
        return bytes(source.read(min(size, count)))

    return parse_footer(read_end)


def parse_footer(read_end: Callable[[int], bytes]) -> Any:
    """Returns a footer as `read_footer`.

    `read_end` returns the last bytes of the file, at most as many as it is given.
    """
    tail = read_end(_TAIL_BYTES)
    if len(tail) < _TAIL.size or not tail.endswith(_MAGIC):
        raise ValueError("the file does not end as a Parquet file")
    length, _ = _TAIL.unpack_from(tail, len(tail) - _TAIL.size)
    if length + _TAIL.size > len(tail):
        tail = read_end(length + _TAIL.size)
    footer = tail[-_TAIL.size - length : -_TAIL.size]
    at = footer.rfind(_MARK) + len(_MARK)
    if at >= len(_MARK):
        if footer[at : at + _DIGITS] != _digits(footer):
            raise ValueError("wrong checksum of the footer")
    elif b"_checksum" in footer:
        raise ValueError("a damaged footer")
    return pq.read_metadata(pa.BufferReader(tail))


def _digits(footer: bytes) -> bytes:
    """Returns the checksum of a footer, whatever its own digits are."""
    at = footer.rindex(_MARK) + len(_MARK)
    blank = footer[:at] + b"0" * _DIGITS + footer[at + _DIGITS :]
    return _FORMAT.format(google_crc32c.value(blank)).encode()


def read_parquet_file(
    path: epath.PathLike, columns: Sequence[str] | None = None, *, owner: str = ""
) -> pa.Table:
    """Returns the table in a file; ValueError if it is broken or lacks a column.

    A file of another owner, put in its place, is broken as well. Files of earlier
    versions name none.
    """
    with explaining(path):
        file = pa.BufferReader(epath.Path(path).read_bytes())
        reader = ChecksumReader(file)
        found = reader.metadata.get(_OWNER, b"").decode()
        if owner and found not in (owner, ""):
            raise ValueError("the file belongs to another directory or shard")
        return reader.read_all(columns)


def write_parquet_file(
    path: epath.PathLike,
    table: pa.Table,
    *,
    row_group_size: int = _GROUP_ROWS,
    owner: str = "",
    **options: Any,
) -> None:
    """Writes a table atomically; the options are those of `pq.ParquetWriter`.

    `owner` says whose the file is, see `read_parquet_file`.
    """
    with (
        artifact.replacing(epath.Path(path)) as temporary,
        temporary.open("wb") as file,
    ):
        write_parquet(file, table, row_group_size, owner, **options)


def write_parquet(
    file: Any,
    table: pa.Table,
    row_group_size: int = _GROUP_ROWS,
    owner: str = "",
    **options: Any,
) -> None:
    """Writes a table to an open binary file, see `write_parquet_file`."""
    with ChecksumWriter(file, table.schema, **options) as writer:
        for start in range(0, table.num_rows, row_group_size):
            writer.write(table.slice(start, row_group_size))
        writer.finish({_OWNER: owner.encode()} if owner else {})


@contextlib.contextmanager
def explaining(path: epath.PathLike, advice: str = "") -> Iterator[None]:
    """Raises errors of reading a file as ValueError with its path and an advice.

    FileNotFoundError is left as it is.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    # A damaged footer or page raises nearly everything: what Arrow, Cython, the parser
    # of JSON and look-ups in its result raise.
    except Exception as error:
        words = " ".join(str(error).split())[:_MAX_WORDS] or type(error).__name__
        raise ValueError(f"{path} is broken: {words}{advice}") from error


def checksum(column: pa.ChunkedArray) -> int:
    """Returns a CRC-32C of a column's type and values.

    It depends neither on chunks, offsets and padding in memory nor on the bytes in the
    place of nulls.
    """
    return _extend(0, pa.concat_arrays(column.chunks or [pa.nulls(0, column.type)]))


def _extend(crc: int, array: pa.Array) -> int:
    is_list = pa.types.is_list(array.type)
    is_bytes = pa.types.is_string(array.type) or pa.types.is_binary(array.type)
    kind = "list" if is_list else str(array.type)
    crc = google_crc32c.extend(crc, f"{kind} {len(array)}".encode())
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    if array.null_count:
        crc = google_crc32c.extend(crc, _null_bits(array))
        # For numbers, to fill is faster than to drop.
        is_number = pa.types.is_primitive(array.type)
        array = array.fill_null(0) if is_number else array.drop_null()
    if is_list:
        crc = _extend(crc, pc.list_value_length(array))
        return _extend(crc, array.flatten())
    start, end = array.offset, array.offset + len(array)
    width = 1 if is_bytes else array.type.bit_width // 8
    if is_bytes:
        crc = _extend(crc, pc.binary_length(array))
        start, end = _offset(array, start), _offset(array, end)
    values = array.buffers()[-1]
    if values is None or start == end:
        return crc
    return int(
        google_crc32c.extend(crc, values.slice(start * width, (end - start) * width))
    )


def _null_bits(array: pa.Array) -> bytes:
    """Returns a bit for each value, whether it is null; the last byte's rest is 0."""
    bits = pa.concat_arrays([array.is_null()]).buffers()[1]
    whole, rest = divmod(len(array), 8)
    content = bits.slice(0, whole).to_pybytes()
    return content + bytes([bits[whole] & ((1 << rest) - 1)]) if rest else content


def _offset(array: pa.Array, index: int) -> int:
    """Returns where the value at an index of the buffers begins, in bytes."""
    offsets = array.buffers()[1]
    return struct.unpack_from("<i", offsets, 4 * index)[0] if offsets else 0
