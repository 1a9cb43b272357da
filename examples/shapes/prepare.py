"""Draws color pictures of ten objects in front of cluttered backgrounds.

  python -m examples.shapes.prepare --output=shapes --seed=1

`examples.image_folders.writing` describes the folders. Of the unlabeled pictures a
tenth is of no class, and the most frequent class has three times as many as the rarest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from examples.image_folders import command, writing
from examples.shapes import outlines, pictures
from stage import cli

FLAGS = command.define_flags(labels_per_class=25)

#: Number of pictures to test on of each class, of all unlabeled ones, and of those
#: among them that show no object.
TEST, UNLABELED, NO_OBJECT = 100, 3_000, 300
#: Ratio of the most frequent class to the rarest among the unlabeled pictures.
IMBALANCE = 3.0

CLASS_NAMES = tuple(outlines.OUTLINES)


def main(argv: Sequence[str]) -> None:
    """Writes the folders."""
    command.run(argv, FLAGS, make)


def make(directory: str, *, labels_per_class: int, seed: int) -> int:
    """Writes the folders; returns the number of unlabeled pictures."""

    def draw(split: str, label: int, rng: np.random.Generator) -> Image.Image:
        del split  # All splits are drawn alike.
        if label == len(CLASS_NAMES):
            return pictures.draw(outlines.blob(rng), rng.uniform(), rng)
        outline = outlines.OUTLINES[CLASS_NAMES[label]]
        # Two classes each have the same typical hue.
        hue = label % (len(CLASS_NAMES) // 2) / (len(CLASS_NAMES) // 2)
        return pictures.draw(outline, hue, rng)

    sizes = writing.FolderSizes(
        labeled=labels_per_class,
        test=TEST,
        unlabeled=(*class_counts(seed=seed), NO_OBJECT),
    )
    return writing.write(directory, CLASS_NAMES, draw, sizes, seed=seed)


def class_counts(*, seed: int) -> tuple[int, ...]:
    """Returns the number of unlabeled pictures of each class, in random order."""
    weights = np.linspace(1.0, IMBALANCE, len(CLASS_NAMES))
    shares = np.random.default_rng(seed).permutation(weights / weights.sum())
    ends = np.round(np.cumsum(shares) * (UNLABELED - NO_OBJECT)).astype(int)
    return tuple(np.diff(ends, prepend=0).tolist())


if __name__ == "__main__":
    cli.run(main, FLAGS)
