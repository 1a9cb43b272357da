"""The teacher's probabilities, blended with spread labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pseudo_label.predictions.schema import top_classes
from pseudo_label.propagation.graph import divide

#: Probabilities that are computed at once.
_BLOCK = 2**22


def blend(
    top_labels: NDArray[np.int32],
    top_probabilities: NDArray[np.float32],
    spread: NDArray[Any],
    *,
    share: float,
    num_classes: int,
    tie_disagreements: bool = True,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Returns the k top classes of the blended distributions, and their probabilities.

    Args:
        top_labels: int32 [N,k] of the teacher.
        top_probabilities: float32 [N,k].
        spread: [N] records of `cells.spread_type`. Where no label reaches an image, its
            distribution stays the teacher's.
        share: Share of the spread labels in [0, 1].
        num_classes: K.
        tie_disagreements: Whether the two top classes get the same probability, at most
            0.5, where they differ; without, the more confident one wins. A third class
            may have a higher one. The distribution of an image that no label reaches is
            mixed with the uniform one until no class has more than 0.5.
    """
    labels = np.zeros_like(top_labels)
    probabilities = np.zeros_like(top_probabilities)
    for block in _blocks(len(labels), num_classes):
        teacher = _to_dense(top_labels[block], top_probabilities[block], num_classes)
        blended = _average(teacher, spread[block], share)
        if tie_disagreements:
            _tie(blended, top_labels[block, 0], spread["labels"][block, 0])
        order = top_classes(blended, labels.shape[1])
        labels[block] = order
        probabilities[block] = np.take_along_axis(blended, order, axis=1)
    if tie_disagreements:
        top_probabilities = _limit(top_probabilities, num_classes)
    is_reached = spread["shares"][:, :1] > 0
    return (
        np.where(is_reached, labels, top_labels),
        np.where(is_reached, probabilities, top_probabilities),
    )


def _average(
    teacher: NDArray[np.float32], spread: NDArray[Any], share: float
) -> NDArray[np.float32]:
    """Returns distributions [N,K]; `teacher` [N,K] is overwritten."""
    teacher *= np.float32(1 - share)
    teacher += np.float32(share) * _to_dense(
        spread["labels"], spread["shares"], teacher.shape[1]
    )
    return teacher


def _tie(
    distributions: NDArray[np.float32],
    first: NDArray[np.int32],
    second: NDArray[np.int32],
) -> None:
    """Gives the classes `first` and `second` [N] of each row the same probability."""
    pairs = np.stack([first, second], axis=1)
    means = np.take_along_axis(distributions, pairs, axis=1).mean(axis=1, keepdims=True)
    np.put_along_axis(distributions, pairs, means, axis=1)


def _limit(
    top_probabilities: NDArray[np.float32], num_classes: int
) -> NDArray[np.float32]:
    """Mixes distributions with the uniform one until no class has more than 0.5.

    What is left for the classes that are not listed is then spread evenly as before.
    """
    highest = top_probabilities[:, :1]
    even = np.float32(1 / max(2, num_classes))
    weight = divide(np.maximum(0, highest - 0.5), highest - even)
    mixed = top_probabilities + weight * (even - top_probabilities)
    return np.minimum(mixed, 0.5)  # Against rounding.


def _blocks(num_rows: int, num_classes: int) -> Iterator[slice]:
    size = max(1, _BLOCK // num_classes)
    for start in range(0, num_rows, size):
        yield slice(start, start + size)


def _to_dense(
    labels: NDArray[np.int32], shares: NDArray[np.float32], num_classes: int
) -> NDArray[np.float32]:
    """Returns distributions [N,K]; of classes without a share, labels mean nothing.

    What the k shares leave is spread evenly over the other classes, as in
    `pseudo_label.dataset.targets`.
    """
    k = labels.shape[1]
    listed = shares.sum(axis=1, keepdims=True)
    rest = np.maximum(0, 1 - listed) / max(1, num_classes - k)
    dense = np.repeat(rest.astype(np.float32), num_classes, axis=1)
    rows, columns = np.nonzero(shares)
    dense[rows, labels[rows, columns]] = shares[rows, columns]
    return dense
