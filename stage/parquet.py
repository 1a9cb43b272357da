"""Small Parquet files, read or written at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath

from stage import artifact


def read_parquet(file: Any, columns: Sequence[str] | None = None) -> pa.Table:
    """Returns the table in an open binary file or an Arrow buffer reader.

    Arrow's threads are not used: one that releases a Python buffer while the
    interpreter exits would crash the process.
    """
    return pq.ParquetFile(file).read(columns=columns, use_threads=False)


def read_parquet_file(
    path: epath.PathLike, columns: Sequence[str] | None = None
) -> pa.Table:
    """Returns the table in a file; ValueError if it is broken or lacks a column."""
    content = epath.Path(path).read_bytes()
    try:
        table = read_parquet(pa.BufferReader(content), columns)
        return table if columns is None else table.select(columns)
    except (pa.ArrowException, OSError, KeyError) as error:  # OSError: a broken page.
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is broken: {reason}") from error


def write_parquet_file(path: epath.PathLike, table: pa.Table, **options: Any) -> None:
    """Writes a table atomically; the options are those of `pq.write_table`."""
    with (
        artifact.replacing(epath.Path(path)) as temporary,
        temporary.open("wb") as file,
    ):
        pq.write_table(table, file, **options)
