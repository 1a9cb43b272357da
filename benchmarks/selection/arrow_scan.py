"""The lower bound: Arrow reads the columns, and nothing else."""

from __future__ import annotations

import concurrent.futures
import pathlib

import pyarrow.parquet as pq

from benchmarks.selection.task import CutOff, SelectionTask
from stage.system import num_cores

COLUMNS = ["label", "confidence", "key_hash"]


def run(task: SelectionTask) -> list[CutOff]:
    """Reads all rows, one thread per core; finds no cut-offs."""
    files = sorted(pathlib.Path(task.predictions).glob("*.parquet"))
    with concurrent.futures.ThreadPoolExecutor(num_cores()) as pool:
        list(pool.map(_read, files))
    return []


def _read(path: pathlib.Path) -> None:
    pq.ParquetFile(path).read(COLUMNS, use_threads=False)
