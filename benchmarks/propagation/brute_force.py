"""Label spreading from its definition, in NumPy and float64, without the job's code."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Rows whose cosines with all others are computed at once.
_BLOCK_ROWS = 500
#: Largest change of a share in the last iteration.
_TOLERANCE = 1e-12


def spread(
    features: NDArray[np.float16],
    labels: NDArray[np.int32],
    classes: int,
    *,
    neighbors: int,
    alpha: float,
) -> NDArray[np.float64]:
    """Returns distributions [N,K]; zeros where no label arrives.

    Args:
        features: [N,D].
        labels: [N], -1 for an image without one.
        classes: K.
        neighbors: Number of images that each is connected to, at most all others.
        alpha: Share of the neighbors' labels in an image's own.
    """
    left, right, weights = _find_edges(features, neighbors)
    count = len(features)
    ends = np.concatenate([left, right])
    degrees = np.bincount(ends, np.concatenate([weights, weights]), count)
    weights = weights / np.sqrt(degrees[left] * degrees[right])
    columns = []
    for label in range(classes):
        given = (1 - alpha) * (labels == label)
        column, change = given, np.inf
        while change > _TOLERANCE:
            sent = np.concatenate([weights * column[right], weights * column[left]])
            new = alpha * np.bincount(ends, sent, count) + given
            change = np.abs(new - column).max()
            column = new
        columns.append(column)
    shares = np.stack(columns, axis=1)
    total = shares.sum(axis=1, keepdims=True)
    return shares / np.where(total > 0, total, 1)


def _find_edges(
    features: NDArray[np.float16], neighbors: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Returns both ends and the cosine of each pair of which one lists the other."""
    rows = features.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    count = len(rows)
    neighbors = min(neighbors, count - 1)
    pairs, cosines = [], []
    for start in range(0, count, _BLOCK_ROWS):
        block = np.arange(start, min(start + _BLOCK_ROWS, count))[:, None]
        every = rows[block[:, 0]] @ rows.T
        np.put_along_axis(every, block, -np.inf, axis=1)
        listed = np.argpartition(-every, neighbors, axis=1)[:, :neighbors]
        pair = np.minimum(block, listed) * count + np.maximum(block, listed)
        pairs.append(pair.ravel())
        cosines.append(np.take_along_axis(every, listed, axis=1).ravel())
    unique, first = np.unique(np.concatenate(pairs), return_index=True)
    weights = np.concatenate(cosines)[first]
    is_connected = weights > 0
    left, right = np.divmod(unique[is_connected], count)
    return left, right, weights[is_connected]
