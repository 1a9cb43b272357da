"""Small Parquet files, read at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath


def read_parquet(file: Any, columns: Sequence[str] | None = None) -> pa.Table:
    """Returns the table in an open binary file or an Arrow buffer reader.

    Arrow's threads are not used: one that releases a Python buffer while the
    interpreter exits would crash the process.
    """
    return pq.ParquetFile(file).read(columns=columns, use_threads=False)


def read_parquet_file(
    path: epath.PathLike, columns: Sequence[str] | None = None
) -> pa.Table:
    """Returns the table in a file; raises ValueError if it is broken."""
    content = epath.Path(path).read_bytes()
    try:
        return read_parquet(pa.BufferReader(content), columns)
    except pa.ArrowException as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is broken: {reason}") from error
