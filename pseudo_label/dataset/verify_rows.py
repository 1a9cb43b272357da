"""Checks of rows of predictions and of dropped rows against each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from etils import epath
from numpy.typing import NDArray

from pseudo_label.deduplication import near_duplicates
from pseudo_label.predictions.schema import hash_key
from stage.status import OK

#: Columns of predictions that `check_predictions` reads.
COLUMNS = (
    *("key", "key_hash", "status", "label", "confidence"),
    *("top_labels", "top_probabilities"),
)
#: Columns of dropped rows that `check_dropped` reads.
DROPPED_COLUMNS = ("record_index", "key", "reason")


def check_predictions(path: epath.Path, rows: pa.Table, *, num_classes: int) -> None:
    """Raises ValueError at the first row whose columns contradict each other.

    A row repeats itself: the hash of its key, the top class and its probability, and
    the status say twice what a change of one of them makes differ.

    Args:
        path: The file, for messages.
        rows: All its rows, with the columns `COLUMNS`.
        num_classes: Number K of classes.
    """
    keys, key_hash = rows["key"].to_pylist(), rows["key_hash"].to_numpy()
    hashes = np.array([hash_key(key) for key in keys], np.uint64)
    _check_rows(path, hashes == key_hash, "a key_hash that is the key's", key_hash)
    status = np.array(rows["status"].to_pylist(), object)
    is_ok = status == OK
    for name in ("label", "confidence", "top_labels", "top_probabilities"):
        is_there = rows[name].is_valid().to_numpy()
        _check_rows(path, is_there == is_ok, f"{name} of rows that are ok", status)
    label, confidence = (
        rows[name].to_numpy()[is_ok] for name in ("label", "confidence")
    )
    labels, probabilities = (
        _to_matrix(rows[name]) for name in ("top_labels", "top_probabilities")
    )
    at = np.flatnonzero(is_ok)
    expected = f"labels in 0..{num_classes - 1}, the top one first"
    is_right = ((labels >= 0) & (labels < num_classes)).all(axis=1)
    _check_rows(path, is_right & (labels[:, 0] == label), expected, labels, at)
    is_right = (probabilities >= 0).all(axis=1) & (probabilities[:, 0] <= 1)
    is_right &= (np.diff(probabilities, axis=1) <= 0).all(axis=1)
    is_right &= probabilities[:, 0] == confidence
    expected = "probabilities in [0, 1], the confidence first, then lower ones"
    _check_rows(path, is_right, expected, probabilities, at)


def check_dropped(path: epath.Path, dropped: pa.Table, rows: pa.Table) -> None:
    """Raises ValueError at the first dropped row that is not one of the predictions.

    Args:
        path: The file of dropped rows, for messages.
        dropped: All its rows, with the columns `DROPPED_COLUMNS`.
        rows: The predictions of the shard, with the columns `COLUMNS`.
    """
    at = dropped["record_index"].to_numpy()
    if at.max(initial=-1) >= len(rows):
        raise ValueError(f"{path}: expected {len(rows):,} rows, got row {at.max()}")
    of_rows = rows.take(at)
    keys = np.array(dropped["key"].to_pylist(), object)
    expected = np.array(of_rows["key"].to_pylist(), object)
    _check_rows(path, keys == expected, "the keys of the predictions", keys)
    is_there = of_rows["label"].is_valid().to_numpy()
    _check_rows(path, is_there, "rows with a prediction", keys)
    reasons = np.array(dropped["reason"].to_pylist(), object)
    known = [near_duplicates.LEAKED, near_duplicates.DUPLICATE]
    _check_rows(path, np.isin(reasons, known), f"a reason of {known}", reasons)


def _check_rows(
    path: epath.Path,
    is_right: NDArray[np.bool_],
    expected: str,
    values: NDArray[Any],
    at: NDArray[np.int64] | None = None,
) -> None:
    """Raises ValueError at the first wrong one; `at` are the rows' positions."""
    for wrong in np.flatnonzero(~is_right).tolist():
        row = wrong if at is None else at[wrong]
        raise ValueError(f"{path}, row {row}: expected {expected}, got {values[wrong]}")


def _to_matrix(column: pa.ChunkedArray) -> NDArray[Any]:
    """Returns lists of one length, nulls left out, as an array [lists, length]."""
    lists = column.drop_null().combine_chunks()
    lengths = np.unique(lists.value_lengths().to_numpy())
    if len(lengths) != 1 or lengths[0] == 0:
        if len(lists):
            raise ValueError(f"expected lists of one length, got {lengths.tolist()}")
        return np.empty((0, 1), lists.type.value_type.to_pandas_dtype())
    return lists.flatten().to_numpy().reshape(len(lists), lengths[0])
