"""Label spreading: "Learning with Local and Global Consistency", Zhou et al. 2004.

On a graph with normalized weights S, F = alpha S F + (1 - alpha) Y, where Y holds the
labels one-hot, and zeros for images without one. A row of F, divided by its sum, is the
distribution of its image. Classes are not weighted: how often people found them among
the labeled images is what is known of their frequency.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from pseudo_label.propagation.graph import divide, normalize_graph
from stage.validation import check

#: Label of an image without one.
UNLABELED = -1
#: What is left of the start of the iteration at its end.
_TOLERANCE = 1e-6
#: Minimum number of iterations, which is what alpha = 0.9 needs. A label travels over
#: at most as many edges.
_MIN_STEPS = 132
#: Classes that are computed together.
_CHUNK = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpreadingConfig:
    """Settings of the graph and of the spreading.

    Attributes:
        neighbors: Number of nearest images that an image is connected to, in 1..1000.
        alpha: Share of the neighbors' labels in an image's own, in (0, 0.99].
    """

    neighbors: int = 10
    alpha: float = 0.9

    def __post_init__(self) -> None:
        check(
            1 <= self.neighbors <= 1000,
            f"neighbors must be in 1..1000, got {self.neighbors}",
        )
        check(0.0 < self.alpha <= 0.99, f"alpha must be in (0, 0.99], got {self.alpha}")

    @property
    def num_steps(self) -> int:
        """Number of iterations, after which alpha to that power is at most 1e-6.

        As a distribution is F divided by its sum, that of an image far from all labels
        would be wrong after fewer than `_MIN_STEPS`.
        """
        steps = math.ceil(math.log(_TOLERANCE) / math.log(self.alpha))
        return max(_MIN_STEPS, steps)


@dataclasses.dataclass(frozen=True)
class SpreadLabels:
    """The classes that most of the labels around each image have.

    Attributes:
        labels: int32 [N,m], the highest share first; of equal ones the lower label.
        shares: float32 [N,m], shares of all labels that reach the image, with a sum of
            at most 1; zeros if none does in `SpreadingConfig.num_steps`.
    """

    labels: NDArray[np.int32]
    shares: NDArray[np.float32]


def find_top_labels(
    graph: Any,
    labels: NDArray[Any],
    config: SpreadingConfig,
    *,
    top_k: int,
    given: SpreadLabels | None = None,
) -> SpreadLabels:
    """Returns the `top_k` classes with the highest shares for each image.

    Args:
        graph: Weights [N,N].
        labels: [N] given labels, `UNLABELED` where there is none.
        config: Settings of the spreading.
        top_k: Number m of classes.
        given: Distributions of the N images that spread like labels, with zeros where
            there is none.
    """
    best = np.zeros((len(labels), top_k), np.int64)
    highest = np.zeros((len(labels), top_k), np.float32)
    total = np.zeros((len(labels), 1), np.float32)
    for classes, scores in spread_chunks(graph, to_targets(labels, given), config):
        total += scores.sum(axis=1, keepdims=True)
        every = np.concatenate([highest, scores], axis=1)
        order = np.argsort(-every, axis=1, kind="stable")[:, :top_k]
        known = np.broadcast_to(classes, scores.shape)
        names = np.concatenate([best, known], axis=1)
        best = np.take_along_axis(names, order, axis=1)
        highest = np.take_along_axis(every, order, axis=1)
    return SpreadLabels(best.astype(np.int32), divide(highest, total))


def to_targets(labels: NDArray[Any], given: SpreadLabels | None = None) -> Any:
    """Returns Y, a sparse matrix float32 [N,K] with as many columns as are used.

    See `find_top_labels`.
    """
    labels = np.asarray(labels)
    rows = np.flatnonzero(labels != UNLABELED)
    columns, values = labels[rows], np.ones(len(rows), np.float32)
    if given is not None:
        soft = np.nonzero(given.shares)
        rows = np.concatenate([rows, soft[0]])
        columns = np.concatenate([columns, given.labels[soft]])
        values = np.concatenate([values, given.shares[soft]])
    shape = (len(labels), int(columns.max(initial=-1)) + 1)
    return scipy.sparse.csc_matrix((values, (rows, columns)), shape=shape)


def spread_chunks(
    graph: Any, targets: Any, config: SpreadingConfig
) -> Iterator[tuple[NDArray[Any], NDArray[np.float32]]]:
    """Yields a few of the classes that are given, ascending, and their columns of F.

    Classes do not depend on each other. `targets` are those of `to_targets`.
    """
    step = normalize_graph(graph) * np.float32(config.alpha)
    known = np.flatnonzero(np.diff(targets.indptr))
    for first in range(0, len(known), _CHUNK):
        classes = known[first : first + _CHUNK]
        given = targets[:, classes].toarray()
        given *= np.float32(1 - config.alpha)
        spread = given
        for _ in range(config.num_steps):
            spread = step @ spread + given
        yield classes, spread
