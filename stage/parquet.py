"""Small Parquet files, read at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def read_parquet(file: Any, columns: Sequence[str] | None = None) -> pa.Table:
    """Returns the table in an open file or a buffer.

    Arrow's threads are not used: one that releases a Python buffer while the
    interpreter exits would crash the process.

    Args:
        file: Open binary file, or Arrow buffer reader.
        columns: Names of the columns to read; all if not given.

    Raises:
        pa.ArrowException: If the file is broken.
    """
    return pq.ParquetFile(file).read(columns=columns, use_threads=False)
