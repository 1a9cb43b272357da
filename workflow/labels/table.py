"""The selected images as a table, CSV or Parquet, with the names of the classes."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from etils import epath

from stage import artifact
from stage.text import printable
from workflow.labels.selected import SelectedLabels

#: copies: records of the image that `write_records` writes, at least 1.
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("class", pa.string()),
        ("label", pa.int32()),
        ("confidence", pa.float32()),
        ("copies", pa.int64()),
    ]
)
_WRITERS: dict[str, Any] = {".csv": pa_csv.CSVWriter, ".parquet": pq.ParquetWriter}


def is_table(output: str) -> bool:
    """Whether a path is one of a table, by its suffix."""
    return pathlib.PurePath(output).suffix in _WRITERS


def write(labels: SelectedLabels, output: str) -> int:
    """Writes a row for each selected image; returns their number.

    They are in the order of the input shards. Raises ValueError if a file that is read
    is broken.
    """
    make_writer, count = _WRITERS[pathlib.PurePath(output).suffix], 0
    path = epath.Path(output)
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        artifact.replacing(path) as temporary,
        temporary.open("wb") as file,
        make_writer(file, SCHEMA) as writer,
    ):
        for table in _tables(labels):
            writer.write_table(table)
            count += table.num_rows
    return count


def _tables(labels: SelectedLabels) -> Iterator[pa.Table]:
    """Yields the rows of each input shard of which some are kept."""
    names = pa.array(map(printable, labels.predictions.class_names), pa.string())
    for index in range(labels.predictions.num_shards):
        rows, copies = labels.decide(index)
        kept = np.flatnonzero(copies)
        rows = rows.take(kept)
        columns = {
            **{name: rows[name] for name in ("key", "label", "confidence")},
            "class": names.take(rows["label"].combine_chunks()),
            "copies": copies[kept],
        }
        if len(kept):
            yield pa.table([columns[name] for name in SCHEMA.names], schema=SCHEMA)
