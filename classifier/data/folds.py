"""Labeled images dealt into folds, one of which a network is not trained on.

So it can be judged on labeled images that it has not learned from, and others like it
on the rest: cross-validation, stratified by class. Which fold an image is in depends
on the keys and labels of all, not on the order of files or on who reads them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from classifier.data.examples import OK, key_text
from classifier.data.readers import FolderReader
from classifier.data.sources import Source


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fold:
    """One of some folds.

    Attributes:
        folds: How many there are, at least 2.
        fold: Which of them, in 0..folds-1.
    """

    folds: int
    fold: int

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise ValueError(f"folds must be 0 or at least 2, got {self.folds}")
        if not 0 <= self.fold < self.folds:
            raise ValueError(f"fold must be in 0..{self.folds - 1}, got {self.fold}")


def find_fold(folds: int, fold: int | None) -> Fold | None:
    """Returns the fold to leave out as flags name it; None where there are no folds.

    Raises:
        ValueError: If there is no such fold, or one number without the other.
    """
    if (folds == 0) != (fold is None):
        raise ValueError(
            f"--folds and --fold go together, got --folds={folds} and "
            + ("no --fold" if fold is None else f"--fold={fold}")
        )
    return None if fold is None else Fold(folds=folds, fold=fold)


def deal(source: Source, num_folds: int) -> list[NDArray[np.int64]]:
    """Returns the fold of every example in every file of a labeled source.

    Raises:
        ValueError: If an image cannot be read or has no label, a class has only one,
            or there are too few for the folds.
        OSError: On what may pass and did not.
    """
    examples = [_read_labels(source, index) for index in range(len(source.files))]
    keys = [key for file in examples for key, _ in file]
    labels = np.array([label for file in examples for _, label in file], np.int64)
    _check(source, keys, labels, num_folds)
    ends = np.cumsum([len(file) for file in examples])
    return np.split(assign(keys, labels, num_folds), ends[:-1])


def assign(
    keys: Sequence[bytes], labels: NDArray[np.int64], num_folds: int
) -> NDArray[np.int64]:
    """Returns the fold of each example: as many in each, in all and of each class.

    The examples of a class, in the order of a hash of their keys, are dealt in turns;
    the next class goes on where the one before ended.

    Args:
        keys: [N] unique names.
        labels: [N] classes.
        num_folds: F.

    Returns:
        [N] in 0..F-1.
    """
    order = sorted(range(len(keys)), key=lambda i: (labels[i], _mixed(keys[i])))
    folds = np.empty(len(keys), np.int64)
    folds[order] = np.arange(len(keys)) % num_folds
    return folds


def _mixed(key: bytes) -> bytes:
    """Returns a hash of a key, the same on every machine."""
    return hashlib.blake2b(key, digest_size=16).digest()


def _read_labels(source: Source, index: int) -> list[tuple[bytes, int]]:
    """Returns key and label of every example in one of the source's files."""
    file = source.files[index]
    if isinstance(source.reader, FolderReader):  # The listing has told it.
        return [(os.fsencode(file.name), file.label)]
    found = []
    for example in source.reader.examples(file):
        if example.status != OK:
            raise ValueError(f"{source.spec}: {key_text(example.key)}: {example.error}")
        found.append((example.key, example.label))
    return found


def _check(
    source: Source, keys: Sequence[bytes], labels: NDArray[np.int64], num_folds: int
) -> None:
    names = source.labeled_class_names()
    for key, label in zip(keys, labels, strict=True):
        if not 0 <= label < len(names):
            raise ValueError(
                f"{source.spec}: {key_text(key)}: label {label} is not in "
                f"0..{len(names) - 1}"
            )
    counts = np.bincount(labels, minlength=len(names))
    if 1 in counts:
        raise ValueError(
            f"{source.spec}: expected two or more images of each class, or no --folds, "
            f"got one of {names[int(np.argmin(counts != 1))]!r}"
        )
    if len(keys) < num_folds:
        raise ValueError(
            f"{source.spec}: expected at least {num_folds} images, one for each of "
            f"--folds, got {len(keys)}"
        )
