"""The rows of predictions that a selection keeps, one input shard at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from etils import epath
from numpy.typing import NDArray

from pseudo_label.deduplication import near_duplicates
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.prediction_set import PredictionSet
from pseudo_label.selection.decision import COLUMNS, Selection, count_copies
from stage import parquet

#: Rows to convert to Python objects at once.
_BATCH_ROWS = 1024


def read_decisions(
    predictions: PredictionSet,
    selection: Selection,
    directory: epath.PathLike,
    index: int,
) -> tuple[pa.Table, NDArray[np.int64]]:
    """Returns the rows of an input shard, `COLUMNS`, and the records of each, [rows].

    `directory` is that of the selection.
    """
    path = predictions.path(index)
    rows = prediction_schema.read_table(path, COLUMNS)
    dropped = near_duplicates.read_dropped(
        directory, index, selection=selection.fingerprint
    )
    with parquet.explaining(path):
        return rows, count_copies(rows, selection, dropped)


def read_kept(
    path: epath.Path, copies: NDArray[np.int64], columns: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yields columns of the rows of a predictions file of which there are copies."""
    start = 0
    for rows in prediction_schema.read_rows(path, columns):
        is_kept = copies[start : start + rows.num_rows] > 0
        start += rows.num_rows
        kept = rows.filter(pa.array(is_kept))
        for batch in kept.to_batches(max_chunksize=_BATCH_ROWS):
            yield from batch.to_pylist()
