"""Writes pictures as `examples/your_own_folder.md` sorts them, drawn from a seed.

    labeled/CLASS/IMG_NUMBER.jpg    a sub-folder for each class
    test/CLASS/IMG_NUMBER.jpg
    all/IMG_NUMBER.jpg              unlabeled
    truth.csv                       name and class of each unlabeled picture

Names and order of the files say nothing about their classes. `truth.csv` is for
benchmarks; no stage of a run reads it.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
from PIL import Image

from stage.validation import check, check_positive

#: Directories of the splits, by the number that is part of their pictures' seeds.
SPLITS = ("labeled", "test", "all")
TRUTH = "truth.csv"
#: Class in `TRUTH` of a picture of no class.
NO_CLASS = ""
#: Quality of the JPEG files, as cameras have it.
_JPEG_QUALITY = 90
#: Names are drawn from so many numbers.
_NUMBERS = 10**8

#: Draws one picture of a split and label; the label is K for a picture of no class.
Draw: TypeAlias = Callable[[str, int, np.random.Generator], Image.Image]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FolderSizes:
    """Numbers of pictures of the splits.

    Attributes:
        labeled: Number of labeled pictures of each class.
        test: Number of pictures to test on of each class.
        unlabeled: Number of unlabeled pictures of each class, [K], or [K+1] with those
            of no class last.
    """

    labeled: int
    test: int
    unlabeled: tuple[int, ...]

    def __post_init__(self) -> None:
        for name, count in (("labeled", self.labeled), ("test", self.test)):
            check_positive(name, count)
        check(
            min(self.unlabeled, default=-1) >= 0,
            f"unlabeled: expected numbers >= 0, got {self.unlabeled}",
        )


def write(
    directory: str | pathlib.Path,
    class_names: Sequence[str],
    draw: Draw,
    sizes: FolderSizes,
    *,
    seed: int,
) -> int:
    """Draws and writes all pictures; returns the number of unlabeled ones.

    A picture depends on seed, split, class and its number in the class alone, so more
    labels keep the pictures that fewer had, and the other splits.
    """
    directory = pathlib.Path(directory)
    names = [*class_names, NO_CLASS]
    truth = []
    for split in SPLITS:
        labels = _labels(split, len(class_names), sizes)
        files = _file_names(len(labels), [seed, SPLITS.index(split)])
        for (label, number), file in zip(labels, files, strict=True):
            rng = np.random.default_rng([seed, SPLITS.index(split), label, number])
            folder = directory / split
            if split == "all":
                truth.append((file, names[label]))
            else:
                folder /= names[label]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(_encode(draw(split, label, rng)))
    with open(directory / TRUTH, "w", newline="") as out:
        csv.writer(out).writerows([("name", "class"), *sorted(truth)])
    return len(truth)


def _labels(split: str, num_classes: int, sizes: FolderSizes) -> list[tuple[int, int]]:
    """Returns label and number in its class of each picture of a split."""
    each = {"labeled": sizes.labeled, "test": sizes.test}
    counts = [each[split]] * num_classes if split in each else sizes.unlabeled
    return [(label, number) for label, n in enumerate(counts) for number in range(n)]


def _file_names(count: int, seed: Sequence[int]) -> Iterator[str]:
    numbers = np.random.default_rng(seed).choice(_NUMBERS, count, replace=False)
    return (f"IMG_{number:08d}.jpg" for number in numbers)


def _encode(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, format="JPEG", quality=_JPEG_QUALITY)
    return content.getvalue()
