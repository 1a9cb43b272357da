"""Stratified cross-validation: labeled images split into folds.

A network is trained without one fold and evaluated on it. The fold of an image depends
on the keys and labels of all images, not on the order of the files or on the reader.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from classifier.data import inspection
from classifier.data.sources import Source

#: Fewest examples of a class in a sample.
_LEAST = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fold:
    """One fold of a split.

    Attributes:
        folds: Number of folds, at least 2.
        fold: Index of this one, in 0..folds-1.
    """

    folds: int
    fold: int

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise ValueError(f"folds must be 0 or at least 2, got {self.folds}")
        if not 0 <= self.fold < self.folds:
            raise ValueError(f"fold must be in 0..{self.folds - 1}, got {self.fold}")


def find_fold(folds: int, fold: int | None) -> Fold | None:
    """Returns the fold named by `--folds` and `--fold`, None if there are no folds."""
    if (folds == 0) != (fold is None):
        raise ValueError(
            f"--folds and --fold go together, got --folds={folds} and "
            + ("no --fold" if fold is None else f"--fold={fold}")
        )
    return None if fold is None else Fold(folds=folds, fold=fold)


def assign_source(source: Source, num_folds: int) -> list[NDArray[np.int64]]:
    """Returns the folds of the examples of a labeled source, one array per file.

    Raises:
        ValueError: If an image cannot be read or has no label, a class has only one
            image, or there are fewer images than folds.
    """
    examples = inspection.inspect(source, for_training=True).labels
    keys = [key for file in examples for key, _ in file]
    labels = np.array([label for file in examples for _, label in file], np.int64)
    _check(source, labels, num_folds)
    ends = np.cumsum([len(file) for file in examples])
    return np.split(assign(keys, labels, num_folds), ends[:-1])


def assign(
    keys: Sequence[bytes], labels: NDArray[np.int64], num_folds: int
) -> NDArray[np.int64]:
    """Returns the fold of each example, balanced overall and within each class.

    The examples of a class, sorted by a hash of their keys, are assigned round-robin;
    the next class continues with the next fold.
    """
    order = sorted(range(len(keys)), key=lambda i: (labels[i], _hash(keys[i])))
    folds = np.empty(len(keys), np.int64)
    folds[order] = np.arange(len(keys)) % num_folds
    return folds


def sample(
    keys: Sequence[bytes], labels: NDArray[np.int64], count: int
) -> NDArray[np.bool_]:
    """Returns which examples are in a sample of about `count`, [N].

    It has the same share of each class, but at least a few, or all, of its examples.
    """
    rank = assign(keys, labels, len(keys))
    sizes = np.bincount(labels)
    rank -= (np.cumsum(sizes) - sizes)[labels]
    share = -(-sizes // -(-len(keys) // count))
    return rank < np.maximum(share, _LEAST)[labels]


def _hash(key: bytes) -> bytes:
    """Returns a hash that is the same in every process, unlike Python's own."""
    return hashlib.blake2b(key, digest_size=16).digest()


def _check(source: Source, labels: NDArray[np.int64], num_folds: int) -> None:
    names = source.labeled_class_names()
    counts = np.bincount(labels, minlength=len(names))
    if 1 in counts:
        raise ValueError(
            f"{source.spec}: expected two or more images of each class, or no --folds, "
            f"got one of {names[int(np.argmin(counts != 1))]!r}"
        )
    if len(labels) < num_folds:
        raise ValueError(
            f"{source.spec}: expected at least {num_folds} images, one for each of "
            f"--folds, got {len(labels)}"
        )
