"""Exact search for embeddings whose cosine is at least a given one.

All pairs are compared, in blocks, so none is missed. Each search runs on one thread:
more would change the last bits.
"""

from __future__ import annotations

import numpy as np
import threadpoolctl
from numpy.typing import NDArray

from pseudo_label.predictions import embeddings
from pseudo_label.propagation.graph import normalize_rows
from stage.validation import check

#: Rows that are compared with as many others at once.
_BLOCK_ROWS = 1024
#: What rounding takes at most from the cosine of two equal embeddings.
_ROUNDING = 1e-6


def check_similarity(similarity: float) -> None:
    """Raises ValueError unless the value can be a limit of cosines."""
    check(
        0 < similarity <= 1,
        f"duplicate_similarity must be above 0 and at most 1, got {similarity}",
    )


def find_earlier(halves: NDArray[np.float16], similarity: float) -> NDArray[np.int64]:
    """Returns the first similar row before each row, int64 [N]; -1 for none.

    Args:
        halves: float16 [N,D], embeddings; zeros are similar to none.
        similarity: Lowest cosine of similar rows.
    """
    found = np.full(len(halves), -1)
    with threadpoolctl.threadpool_limits(1):
        for start in range(0, len(halves), _BLOCK_ROWS):
            rows = _unit_rows(halves, start)
            pending = np.arange(len(rows))
            for begin in range(0, start + 1, _BLOCK_ROWS):
                cosines = rows[pending] @ _unit_rows(halves, begin).T
                if begin == start:  # Neither itself nor a later row.
                    cosines[np.arange(len(rows)) >= pending[:, None]] = -1
                is_similar = cosines.max(axis=1) >= similarity - _ROUNDING
                near = cosines[is_similar] >= similarity - _ROUNDING
                found[start + pending[is_similar]] = begin + near.argmax(axis=1)
                pending = pending[~is_similar]
    return found


def find_nearest(
    queries: NDArray[np.float16], halves: NDArray[np.float16], similarity: float
) -> NDArray[np.int64]:
    """Returns the most similar row for each query, int64 [Q]; -1 for none.

    Of equally similar ones, those that rounding could order, it is the first.

    Args:
        queries: float16 [Q,D], embeddings.
        halves: float16 [N,D], embeddings of the rows.
        similarity: Lowest cosine of similar rows.
    """
    found = np.full(len(queries), -1)
    with threadpoolctl.threadpool_limits(1):
        for start in range(0, len(queries), _BLOCK_ROWS):
            wanted = _unit_rows(queries, start)
            lowest = np.full(len(wanted), similarity - _ROUNDING, np.float32)
            for begin in range(0, len(halves), _BLOCK_ROWS):
                cosines = wanted @ _unit_rows(halves, begin).T
                highest = cosines.max(axis=1)
                is_new = highest >= lowest
                near = cosines[is_new] >= highest[is_new, None] - _ROUNDING
                found[start + np.flatnonzero(is_new)] = begin + near.argmax(axis=1)
                lowest[is_new] = highest[is_new] + _ROUNDING
    return found


def _unit_rows(halves: NDArray[np.float16], start: int) -> NDArray[np.float32]:
    """Returns a block of rows as float32 of length 1; zeros stay zeros."""
    return normalize_rows(embeddings.widen(halves[start : start + _BLOCK_ROWS]))
