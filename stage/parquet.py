"""Small files, read and written whole."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def write_whole(path: pathlib.Path, text: str) -> None:
    """Writes a file, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, "utf-8")
    temporary.replace(path)


def read_parquet(file: Any, columns: Sequence[str] | None = None) -> pa.Table:
    """Returns a table out of an open file or a buffer; `columns` of it, if given.

    Arrow's threads are not asked to help: one that still lets go of Python's bytes
    while Python ends would take the process down.

    Raises:
        pa.ArrowException: If it is broken.
    """
    return pq.ParquetFile(file).read(columns=columns, use_threads=False)
