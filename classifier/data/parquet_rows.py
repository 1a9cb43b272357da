"""Images and labels in the rows of Parquet files.

A row group, or a file, that cannot be read is a row with a status for each row that is
lost; reading continues with the next row group.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import pyarrow as pa

from classifier.data import opening, parquet_files
from classifier.data.examples import UNLABELED, Example, File
from classifier.data.opening import FileError
from classifier.data.parquet_files import ParquetFile, RowGroup
from classifier.data.streams import ContentError
from classifier.data.tfrecord import MAX_LENGTH
from stage.status import BAD_RECORD, CHANGED, CORRUPT_RECORD, OK

#: Most rows to read at once, and about how many bytes of values.
_BATCH_ROWS, _BATCH_BYTES = 256, 2**24
#: A label as Arrow returns it: a number, a text's bytes, or nothing.
_RawLabel: TypeAlias = "int | bytes | None"


@dataclasses.dataclass(frozen=True)
class Columns:
    """Which columns hold images and labels.

    Attributes:
        image: Column of bytes, or of structs with a field `bytes`.
        label: Column of integers or texts, None if labels are not read.
        class_names: Names by label, of labels that are texts.
    """

    image: str
    label: str | None = None
    class_names: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """Names of the columns to read."""
        return [self.image] + ([self.label] if self.label is not None else [])

    @functools.cached_property
    def labels(self) -> Mapping[bytes, int]:
        """Label of each class name, as its bytes."""
        names = map(os.fsencode, self.class_names)
        return {name: label for label, name in enumerate(names)}


def read_rows(
    file: File, columns: Columns, *, is_labeled: bool = False
) -> Iterator[Example]:
    """Yields the examples of a file's range of rows; keys are FILE#ROW.

    With `is_labeled`, the error of an image without a label is what is in its place.
    """
    row, rest = file.skip, ("", "")
    try:
        with parquet_files.open_parquet(file, columns.image) as parquet:
            groups = _find_groups(parquet, file)
            if problem := _column_problem(parquet.schema, columns):
                rest = BAD_RECORD, problem
                groups = []
            for group in groups:
                for example in _read_group(parquet, group, file, columns, is_labeled):
                    yield example
                    row += 1
    except ContentError as error:
        rest = CORRUPT_RECORD, str(error)
    except (OSError, FileError) as error:
        rest = opening.status_of(error)
    if rest[0]:
        for lost in range(row, max(row + 1, file.skip + file.take)):
            yield Example(_key(file, lost), b"", UNLABELED, *rest)


def _find_groups(parquet: ParquetFile, file: File) -> list[RowGroup]:
    """Returns the row groups of a file's range.

    A file that could not be read when it was listed has no range; then all are.
    """
    not_empty = [group for group in parquet.groups if group.rows]
    if file.take < 0:
        return not_empty
    end = file.skip + file.take
    starts = {group.start for group in parquet.groups}
    num_rows = sum(group.rows for group in parquet.groups)
    if file.skip not in starts or num_rows < end or (file.to_end and num_rows != end):
        raise FileError(CHANGED, "its row groups are not those that were listed")
    return [group for group in not_empty if file.skip <= group.start < end]


def _column_problem(schema: pa.Schema, columns: Columns) -> str:
    """Returns why no row of a file holds an image, "" if some may."""
    kind = parquet_files.column_type(schema, columns.image)
    if kind is not None and parquet_files.is_image_column(kind):
        return ""
    got = f"{kind}" if kind is not None else parquet_files.describe_columns(schema)
    return f"expected bytes, or struct<bytes, path>, in {columns.image!r}, got {got}"


def _read_group(
    parquet: ParquetFile,
    group: RowGroup,
    file: File,
    columns: Columns,
    is_labeled: bool,
) -> Iterator[Example]:
    """Yields an example for each row of a row group, as far as a file's range goes."""
    end = group.start + group.rows
    if file.take >= 0:
        end = min(end, file.skip + file.take)
    row = group.start
    label = columns.label
    if label is not None and not _has_labels(parquet.schema, label):
        columns = dataclasses.replace(columns, label=None)
    each = max(group.num_bytes // group.rows, 1)
    batch_size = max(1, min(_BATCH_ROWS, _BATCH_BYTES // each))
    reason = ""
    try:
        for batch in parquet.read(group, columns.names, batch_size):
            for image, value in itertools.islice(_pairs(batch, columns), end - row):
                example = _example(_key(file, row), image, value, columns)
                if is_labeled and example.label == UNLABELED:
                    example = _explain(example, value, label)
                yield example
                row += 1
            if row == end:
                return
        reason = f"it ends behind {row - group.start:,} of {group.rows:,} rows"
    except ContentError as error:
        reason = str(error)
    for lost in range(row, end):
        error_text = f"row group {group.index}: {reason}"
        yield Example(_key(file, lost), b"", UNLABELED, CORRUPT_RECORD, error_text)


def _has_labels(schema: pa.Schema, label: str) -> bool:
    kind = parquet_files.column_type(schema, label)
    return kind is not None and parquet_files.is_label_column(kind)


def _pairs(
    batch: pa.RecordBatch, columns: Columns
) -> Iterator[tuple[bytes | str, _RawLabel]]:
    """Yields image, or why there is none, and label of each row.

    Raises ContentError if Arrow cannot return the values.
    """
    images = _images(batch.column(columns.image))
    labels: list[_RawLabel] = [None] * len(batch)
    try:
        if columns.label is not None:
            labels = plain_values(batch.column(columns.label))
    except (pa.ArrowException, ValueError) as error:
        raise ContentError(" ".join(str(error).split())) from error
    return zip(images, labels, strict=True)


def _images(column: pa.Array) -> Iterator[bytes | str]:
    """Yields the bytes of each row, or why there are none."""
    paths: list[Any] = []
    if pa.types.is_struct(column.type):
        kind, fields = column.type, column.flatten()  # Null where the struct is.
        column = fields[kind.get_field_index("bytes")]
        at = kind.get_field_index("path")
        if column.null_count and at >= 0 and parquet_files.is_text(fields[at].type):
            paths = plain_values(fields[at])
    for row, value in enumerate(_one_by_one(column)):
        if value is not None:
            yield value
        else:
            path = paths[row] if paths else None
            yield "null" if path is None else f"only the path {_shown(path)}"


def _one_by_one(column: pa.Array) -> Iterator[bytes | None]:
    """Yields bytes; those in a dictionary are copied when it is their turn."""
    if not pa.types.is_dictionary(column.type):
        yield from column.to_pylist()
        return
    values = column.dictionary
    for index in column.indices.to_pylist():
        yield None if index is None else values[index].as_py()


def plain_values(column: pa.Array) -> list[Any]:
    """Returns numbers, or the bytes of texts, which may not be UTF-8."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not pa.types.is_integer(column.type):
        column = column.cast(pa.large_binary())
    return list(column.to_pylist())


def _example(
    key: bytes, image: bytes | str, value: _RawLabel, columns: Columns
) -> Example:
    label = columns.labels.get(value, UNLABELED) if isinstance(value, bytes) else value
    if label is None or not 0 <= label < 2**63:
        label = UNLABELED
    if isinstance(image, str):
        error = f"expected bytes in {columns.image!r}, got {image}"
        return Example(key, b"", label, BAD_RECORD, error)
    if len(image) > MAX_LENGTH:
        error = f"{len(image):,} bytes are more than {MAX_LENGTH:,}"
        return Example(key, b"", label, BAD_RECORD, error)
    return Example(key, image, label)


def _explain(example: Example, value: _RawLabel, label: str | None) -> Example:
    """Returns the example of an image without a label, with what is in its place."""
    if example.status != OK or label is None:
        return example
    got = "nothing"
    if isinstance(value, bytes):
        got = f"{_shown(value)}, which is no class"
    elif value is not None:
        got = f"{value}"
    return dataclasses.replace(
        example, error=f"expected a label in {label!r}, got {got}"
    )


def _shown(text: bytes) -> str:
    return repr(text[:200].decode(errors="backslashreplace"))


def _key(file: File, row: int) -> bytes:
    return os.fsencode(f"{file.name}#{row}")
