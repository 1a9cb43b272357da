"""The file `samples.parquet`: a row for each tile of the contact sheets."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import pyarrow as pa
from etils import epath

from stage.parquet import read_parquet_file, write_parquet_file

FILE = "samples.parquet"
VERSION = 1
#: Names of the sheets, in the order of the file.
SHEETS = (
    *("highest", "random", "above_cut", "below_cut", "most_copied"),
    *("undecodable", "leaked", "duplicate"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """A tile of a contact sheet.

    Attributes:
        sheet: Name of the sheet.
        position: Position on the sheet, from 0 on.
        key: Unique name of the image; not a path to open.
        shard: Input shard of the image.
        row: Row of the image in the shard.
        label: Predicted class; None without a prediction.
        confidence: Confidence of the prediction, in [0, 1]; None without one.
        copies: Number of records written; 0 if the image was not kept.
        reason: Why there is no prediction (status and error), how a dropped image was
            matched, or why there is no thumbnail; else empty.
        thumbnail: JPEG or PNG; None if the image cannot be decoded.
        twin_key: Key of the match of a leaked or duplicate image.
        twin_thumbnail: Thumbnail of the match, if its images are available.
    """

    sheet: str
    position: int
    key: str
    shard: int
    row: int
    label: int | None
    confidence: float | None
    copies: int
    reason: str
    thumbnail: bytes | None
    twin_key: str | None
    twin_thumbnail: bytes | None


def schema() -> pa.Schema:
    """Returns the columns of the file, the attributes of `Sample`."""
    return pa.schema(
        [
            ("sheet", pa.string()),
            ("position", pa.int32()),
            ("key", pa.string()),
            ("shard", pa.int32()),
            ("row", pa.int64()),
            ("label", pa.int32()),
            ("confidence", pa.float32()),
            ("copies", pa.int32()),
            ("reason", pa.string()),
            ("thumbnail", pa.binary()),
            ("twin_key", pa.string()),
            ("twin_thumbnail", pa.binary()),
        ]
    )


def write_samples(directory: epath.PathLike, samples: Iterable[Sample]) -> None:
    """Writes the tiles of all sheets."""
    rows = [vars(sample) for sample in samples]
    table = pa.Table.from_pylist(rows, schema=schema())
    write_parquet_file(epath.Path(directory) / FILE, table)


def read_samples(directory: epath.PathLike) -> list[Sample]:
    """Returns the tiles, by sheet in the order of `SHEETS`, then by position.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If the file is broken.
    """
    table = read_parquet_file(epath.Path(directory) / FILE, schema().names)
    return [Sample(**row) for row in table.to_pylist()]
