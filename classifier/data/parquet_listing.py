"""Listing of Parquet sources: runs of row groups, columns and class names.

The footer of every file is read, and of labels that are texts every row, unless the
names of the classes are given.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from classifier.data import opening, parquet_files
from classifier.data.class_names import check_same_classes, sort_labels
from classifier.data.examples import File
from classifier.data.opening import FileError
from classifier.data.parquet_files import column_type, is_image_column, is_label_column
from classifier.data.parquet_rows import Columns, plain_values
from classifier.data.streams import ContentError
from stage.system import read_in_parallel

IMAGE_COLUMN = "image"
LABEL_COLUMN = "label"
#: Most classes of labels that are texts; captions would be millions.
_MAX_CLASSES = 100_000
_LABEL_ROWS = 2**16
_NEEDED = "expected a column of bytes, or of struct<bytes, path>"


@dataclasses.dataclass(frozen=True)
class ParquetListing:
    """The runs of row groups of some files, and what their columns hold.

    Attributes:
        files: Runs, and files that cannot be read.
        columns: Columns of images and labels.
        class_names: Names by label, None if the images have no labels.
    """

    files: list[File]
    columns: Columns
    class_names: tuple[str, ...] | None


@dataclasses.dataclass(frozen=True)
class _Head:
    """What the footer of a file says.

    Attributes:
        file: The file.
        runs: Its runs; the file itself if it cannot be read.
        schema: Its columns, None if it cannot be read.
        error: Why not.
    """

    file: File
    runs: list[File]
    schema: pa.Schema | None = None
    error: str = ""


def list_parquet(
    spec: str,
    files: Sequence[File],
    image_column: str | None,
    label_column: str | None,
    class_names: tuple[str, ...] | None,
) -> ParquetListing:
    """Reads the footers of files.

    Args:
        spec: The source, for messages.
        files: The files; one that cannot be read is kept, its rows will have a status.
        image_column: Column of the image; default: `image`, or the only one of bytes.
        label_column: Column of the label; default: `label`.
        class_names: Names of a file, which those in metadata must equal.

    Raises:
        ValueError: If no file can be read, there are no rows, a column is missing or of
            a wrong type, or the files disagree about the classes.
        OSError: If a transient error persists.
    """
    heads = read_in_parallel(_read_head, files)
    readable = [head for head in heads if head.schema is not None]
    if not readable:
        raise ValueError(
            f"{spec}: expected Parquet files, got {heads[0].file.name}: "
            f"{heads[0].error}"
        )
    runs = [run for head in heads for run in head.runs]
    if not runs:
        raise ValueError(f"{spec}: expected images, found no rows")
    schema = readable[0].schema
    image = _find_image(spec, schema, image_column)
    label = _find_label(spec, schema, label_column)
    if label is not None:
        class_names = _find_classes(spec, readable, label, class_names)
    columns = Columns(image, label, class_names or ())
    return ParquetListing(runs, columns, class_names if label is not None else None)


def _read_head(file: File) -> _Head:
    try:
        with parquet_files.open_parquet(file) as parquet:
            runs = parquet_files.split_runs(file, parquet.groups)
            return _Head(file, runs, parquet.schema)
    except ContentError as error:
        return _Head(file, [file], error=str(error))
    except (OSError, FileError) as error:
        return _Head(file, [file], error=opening.status_of(error)[1])


def _find_image(spec: str, schema: pa.Schema, wanted: str | None) -> str:
    """Returns the wanted column, else `image`, else the only one of bytes."""
    found = [field.name for field in schema if is_image_column(field.type)]
    if wanted is None and IMAGE_COLUMN not in found and len(found) == 1:
        return str(found[0])
    image = wanted if wanted is not None else IMAGE_COLUMN
    if image not in found:
        raise ValueError(
            f"{spec}: {_NEEDED} called {image!r} (--image_column names another), got "
            f"{parquet_files.describe_columns(schema)}"
        )
    return image


def _find_label(spec: str, schema: pa.Schema, wanted: str | None) -> str | None:
    """Returns the wanted column, else `label` if it may hold labels, else None."""
    label = wanted if wanted is not None else LABEL_COLUMN
    kind = column_type(schema, label)
    if kind is not None and is_label_column(kind):
        return label
    if wanted is None:
        return None
    raise ValueError(
        f"{spec}: expected a column of integers or texts called {label!r}, got "
        f"{kind if kind is not None else parquet_files.describe_columns(schema)}"
    )


def _find_classes(
    spec: str, heads: Sequence[_Head], label: str, given: tuple[str, ...] | None
) -> tuple[str, ...] | None:
    """Returns the names of the classes, None if labels are numbers without names."""
    known = given
    for head in heads:
        names = parquet_files.hub_class_names(head.schema, label)
        if names and known is not None:
            check_same_classes(known, names, f"{spec}: {head.file.name}")
        known = names or known
    kind = column_type(heads[0].schema, label)
    if known is not None or not parquet_files.is_text(kind):
        return known
    found: set[bytes] = set()
    for labels in read_in_parallel(
        lambda head: _read_labels(spec, head.file, label), heads
    ):
        found |= labels
        _check_number(spec, found, label)
    return sort_labels(map(os.fsdecode, found))


def _read_labels(spec: str, file: File, label: str) -> set[bytes]:
    """Returns the different texts of a column, as far as they can be read."""
    found: set[bytes] = set()
    try:
        with parquet_files.open_parquet(file) as parquet:
            kind = column_type(parquet.schema, label)
            if kind is None or not parquet_files.is_text(kind):
                return found
            for group in parquet.groups:
                try:
                    for batch in parquet.read(group, [label], _LABEL_ROWS):
                        found.update(filter(None, _different(batch.column(label))))
                        _check_number(spec, found, label)
                except ContentError:
                    continue  # Its rows will have a status.
    except ContentError:
        pass
    except (OSError, FileError) as error:
        opening.status_of(error)
    return found


def _different(column: pa.Array) -> list[bytes]:
    try:
        return plain_values(pc.unique(column))
    except pa.ArrowException as error:
        raise ContentError(str(error)) from error


def _check_number(spec: str, found: set[bytes], label: str) -> None:
    if len(found) > _MAX_CLASSES:
        raise ValueError(
            f"{spec}: expected labels of at most {_MAX_CLASSES:,} classes in "
            f"{label!r}, got more different texts; --label_column names another column"
        )
