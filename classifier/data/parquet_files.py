"""Parquet files that others wrote: opened for Arrow, their row groups and columns.

They have no checksums of ours, so that a footer may claim anything. `stage.parquet`
reads the files that the stages write.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from classifier.data import opening, streams
from classifier.data.examples import File
from classifier.data.opening import FileError
from classifier.data.streams import ContentError
from stage import typed_json

#: Bytes of a column that are read at once.
_BUFFER = 2**20
#: Rows, and bytes of values, after which a run of row groups ends.
RUN_ROWS, RUN_BYTES = 1000, 2**27
#: Most rows that a row group may claim, if it has fewer bytes: nulls take none.
_MAX_ROWS_OF_NOTHING = 10**6
_HUB_KEY = b"huggingface"


@dataclasses.dataclass(frozen=True)
class RowGroup:
    """A row group: the rows of a file that are stored together.

    Attributes:
        index: Number in the file.
        start: Number of rows in front of it.
        rows: Number of rows.
        num_bytes: Bytes of its values as they were before compression.
    """

    index: int
    start: int
    rows: int
    num_bytes: int


class ParquetFile:
    """An open Parquet file of others, whose footer has been read and checked.

    Attributes:
        schema: Columns as Arrow names and types them.
        groups: The row groups.
    """

    def __init__(self, stream: BinaryIO, size: int, image: str = "") -> None:
        """Opens a file.

        Raises ContentError if it is none, OSError or FileError if it cannot be read.

        Args:
            stream: The file.
            size: Its bytes.
            image: Column whose bytes are returned as a dictionary: values that many
                rows share are in memory once.
        """
        self._source = _ArrowSource(stream, size)
        source = pa.PythonFile(self._source, mode="r")
        with self._explaining():
            footer = pq.ParquetFile(source, pre_buffer=False).metadata
            self._file = pq.ParquetFile(
                source,
                metadata=footer,
                read_dictionary=_find_leaves(footer.schema, image),
                buffer_size=_BUFFER,
                # Otherwise Arrow fetches whole row groups, in threads.
                pre_buffer=False,
                page_checksum_verification=True,
            )
            self.schema: pa.Schema = self._file.schema_arrow
        self.groups = _list_groups(footer, size)

    def read(
        self, group: RowGroup, columns: list[str], batch_size: int
    ) -> Iterator[pa.RecordBatch]:
        """Yields columns of a row group; raises as opening does."""
        with self._explaining():
            batches = self._file.iter_batches(
                batch_size, row_groups=[group.index], columns=columns, use_threads=False
            )
        while True:
            with self._explaining():
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        # Damage raises nearly everything. What reading has raised may be wrapped.
        except Exception as error:
            if self._source.failure is not None:
                raise self._source.failure from error
            message = typed_json.error_message(error) or type(error).__name__
            raise ContentError(message) from error


@contextlib.contextmanager
def open_parquet(file: File, image: str = "") -> Iterator[ParquetFile]:
    """Opens a listed file; for `image` see `ParquetFile`.

    Raises:
        ContentError: If it is no Parquet file.
        FileError: If it is not what it was when it was listed.
        OSError: If it cannot be read.
    """
    with opening.open_file(file) as stream:
        size = stream.seek(0, io.SEEK_END)
        yield ParquetFile(stream, size, image)


class _ArrowSource:
    """A file for Arrow, which turns the errors of reading into its own.

    Attributes:
        failure: What reading has raised.
        closed: Whether it is closed; the one who opened the file closes it.
    """

    closed = False

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self.failure: Exception | None = None
        self._stream = stream
        self._size = size
        self._position = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}
        self._position = start[whence] + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, count: int = -1) -> bytes:
        left = max(self._size - self._position, 0)
        try:
            self._stream.seek(self._position)
            content = streams.read_up_to(
                self._stream, left if count < 0 else min(count, left)
            )
        except (OSError, FileError) as error:
            self.failure = error
            raise
        self._position += len(content)
        return content

    def close(self) -> None:
        pass

    def flush(self) -> None:
        pass

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return True


def _find_leaves(schema: Any, image: str) -> list[str]:
    """Returns the paths of a column, or of its field `bytes`, that holds bytes."""
    leaves = [schema.column(index) for index in range(len(schema))]
    return [
        leaf.path
        for leaf in leaves
        if leaf.path in (image, f"{image}.bytes") and leaf.physical_type == "BYTE_ARRAY"
    ]


def _list_groups(footer: Any, size: int) -> tuple[RowGroup, ...]:
    """Returns the row groups; raises ContentError for numbers that cannot be true."""
    groups: list[RowGroup] = []
    start = 0
    for index in range(footer.num_row_groups):
        group = footer.row_group(index)
        rows = group.num_rows
        if not 0 <= rows <= max(size, _MAX_ROWS_OF_NOTHING):
            raise ContentError(
                f"row group {index} claims {rows:,} rows in a file of {size:,} bytes"
            )
        groups.append(RowGroup(index, start, rows, max(group.total_byte_size, 0)))
        start += rows
    if start != footer.num_rows:
        raise ContentError(
            f"the footer claims {footer.num_rows:,} rows, its row groups {start:,}"
        )
    return tuple(groups)


def split_runs(file: File, groups: tuple[RowGroup, ...]) -> list[File]:
    """Returns the runs of row groups that are processed together.

    A run ends with the row group in which it reaches `RUN_ROWS` or `RUN_BYTES`.
    """
    runs: list[File] = []
    start = rows = num_bytes = 0
    for group in groups:
        rows += group.rows
        num_bytes += group.num_bytes
        is_last = group is groups[-1]
        if rows and (is_last or rows >= RUN_ROWS or num_bytes >= RUN_BYTES):
            run = dataclasses.replace(file, skip=start, take=rows, to_end=is_last)
            runs.append(run)
            start += rows
            rows = num_bytes = 0
    return runs


# --- columns ----------------------------------------------------------------------
def is_image_column(kind: pa.DataType) -> bool:
    """Whether a column holds bytes, or a struct with a field `bytes` of them."""
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _is_bytes(kind.field(index).type)
    return _is_bytes(kind)


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds texts, dictionary-encoded or not."""
    kind = _value_type(kind)
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
    )


def is_label_column(kind: pa.DataType) -> bool:
    """Whether a column holds integers or texts."""
    return bool(pa.types.is_integer(kind)) or is_text(kind)


def describe_columns(schema: pa.Schema) -> str:
    """Returns names and types of the first columns, for a message."""
    shown = [f"{field.name!r}: {field.type}" for field in list(schema)[:5]]
    more = f" and {len(schema) - 5} more" if len(schema) > 5 else ""
    return typed_json.shorten((", ".join(shown) or "none") + more, 400)


def column_type(schema: pa.Schema, name: str) -> pa.DataType | None:
    """Returns the type of a column; None if there is none, or several of the name."""
    index = schema.get_field_index(name)
    return schema.field(index).type if index >= 0 else None


def hub_class_names(schema: pa.Schema, label: str) -> tuple[str, ...]:
    """Returns the class names that Hugging Face's libraries store of a column.

    Returns none if there are none, or the metadata is not what these libraries write.
    """
    content = (schema.metadata or {}).get(_HUB_KEY)
    if content is None:
        return ()
    try:
        value: Any = typed_json.parse(content, dict[str, Any], "metadata")
    except ValueError:
        return ()
    for key in ("info", "features", label):
        value = value.get(key) if isinstance(value, dict) else None
    names = value.get("names") if isinstance(value, dict) else None
    is_names = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return tuple(names or ()) if is_names else ()


def _value_type(kind: pa.DataType) -> pa.DataType:
    """Returns the type of a column's values, dictionary-encoded or not."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_bytes(kind: pa.DataType) -> bool:
    kind = _value_type(kind)
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )
