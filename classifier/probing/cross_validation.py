"""Cross-validation of a head: the folds, the regularization, out-of-fold predictions.

Images with the same bytes are in one fold, so that no head predicts an image that it
has seen. C is chosen by the cross-entropy of images that the head has not seen: it
depends on confidences, by which labels are selected, and changes smoothly where few
images make accuracies equal.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from classifier.data import folds
from classifier.inference.temperature_scaling import (
    LabeledLogits,
    negative_log_likelihood,
)
from classifier.probing.config import ProbeConfig
from classifier.probing.embeddings import LabeledEmbeddings
from classifier.probing.logistic_regression import fit_head

#: Fold of images that every head learns from: some class has no others.
IN_EVERY_HEAD = -1
#: Values of C in a row that are worse than the best one and end a direction.
_PATIENCE = 2


@dataclasses.dataclass(frozen=True)
class ChosenC:
    """The regularization, and why.

    Attributes:
        value: C.
        reason: Why it was not chosen freely; "" if it was.
        losses: Mean cross-entropy of unseen images by C tried, in nats.
    """

    value: float
    reason: str
    losses: dict[float, float] = dataclasses.field(default_factory=dict)


def assign_folds(
    labeled: LabeledEmbeddings, *, num_folds: int, seed: int
) -> NDArray[np.int64]:
    """Returns the fold of each image, [N] in 0..num_folds-1, or `IN_EVERY_HEAD`.

    Equal images have the same fold, and each class is spread evenly. Without the images
    of any fold every class is left.
    """
    labels = labeled.labels
    digests, group = np.unique(np.array(labeled.digests), return_inverse=True)
    label_of_group = np.full(len(digests), np.iinfo(np.int64).max)
    np.minimum.at(label_of_group, group, labels)
    keys = [f"{seed} {digest}".encode() for digest in digests]
    fold = folds.assign(keys, label_of_group, num_folds)[group]
    in_one_fold = [
        label
        for label in np.unique(labels)
        if len(np.unique(fold[labels == label])) < 2
    ]
    needed = np.isin(group, group[np.isin(labels, in_one_fold)])
    return np.where(needed, IN_EVERY_HEAD, fold)


def predict_out_of_fold(
    labeled: LabeledEmbeddings, fold: NDArray[np.int64], *, c: float
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.float32]]]:
    """Yields each fold, its rows [R], and logits [R,K] of a head without the fold."""
    for number in range(fold.max(initial=IN_EVERY_HEAD) + 1):
        left_out = fold == number
        head = fit_head(labeled.embeddings[~left_out], labeled.labels[~left_out], c=c)
        yield (
            number,
            np.flatnonzero(left_out),
            head.logits(labeled.embeddings[left_out]),
        )


def choose_c(labeled: LabeledEmbeddings, config: ProbeConfig) -> ChosenC:
    """Returns the C of the lowest mean cross-entropy over the folds.

    Powers of ten are tried upwards and downwards from `default_c`, then halves beside
    the best. The lowest are no start: with few images of each class, a head that has
    hardly learned is worse than one that has not at all. As the variance of a prior, C
    does not depend on the number of images; it is searched with at most about
    `max_search_images` of them.
    """
    if config.smallest_c == config.largest_c:
        return ChosenC(config.smallest_c, "given")
    sample = _sample(labeled, config)
    fold = assign_folds(sample, num_folds=config.folds, seed=config.seed)
    if (fold == IN_EVERY_HEAD).all():
        return ChosenC(config.default_c, "no class has two images to validate one")

    def loss(c: float) -> float:
        parts = [
            LabeledLogits(logits[np.newaxis], sample.labels[rows].astype(np.int32))
            for _, rows, logits in predict_out_of_fold(sample, fold, c=c)
            if len(rows)
        ]
        return negative_log_likelihood(parts, 1.0)

    losses = _search(loss, config)
    best = min(losses, key=losses.__getitem__)
    is_edge = best in (config.smallest_c, config.largest_c)
    return ChosenC(best, "at the edge of what is tried" if is_edge else "", losses)


def _search(loss: Callable[[float], float], config: ProbeConfig) -> dict[float, float]:
    """Returns the losses of the values of C that were tried."""
    count = math.ceil(math.log10(config.largest_c / config.smallest_c))
    grid = [_round(config.smallest_c * 10.0**power) for power in range(count)]
    grid.append(config.largest_c)
    start = int(np.argmin(np.abs(np.log(np.array(grid) / config.default_c))))
    losses: dict[float, float] = {}
    for row in (grid[start:], grid[start::-1]):
        since_best = 0
        for c in row:
            losses[c] = losses[c] if c in losses else loss(c)
            best = min(losses, key=losses.__getitem__)
            since_best = 0 if c == best else since_best + 1
            if since_best == _PATIENCE:
                break
    for c in map(_round, (best / 10**0.5, best * 10**0.5)):
        if config.smallest_c < c < config.largest_c:
            losses[c] = loss(c)
    return losses


def _round(c: float) -> float:
    """Returns a C with three digits."""
    return float(f"{c:.3g}")


def _sample(labeled: LabeledEmbeddings, config: ProbeConfig) -> LabeledEmbeddings:
    """Returns about `max_search_images` images, some of each class."""
    if len(labeled.labels) <= config.max_search_images:
        return labeled
    keys = [f"{config.seed + 1} {digest}".encode() for digest in labeled.digests]
    rows = folds.sample(keys, labeled.labels, config.max_search_images)
    return labeled.take(np.flatnonzero(rows))
