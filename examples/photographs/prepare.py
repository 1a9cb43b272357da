"""Makes folders of color pictures, each a part of one of ten photographs.

  python -m examples.photographs.prepare --output=photographs --seed=1

Needs the extra `surfaces`. `examples.image_folders.writing` describes the folders,
`examples.photographs.parts` what they show.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from examples.image_folders import command, writing
from examples.photographs import parts
from stage import cli

FLAGS = command.define_flags(labels_per_class=10)

#: Numbers of pictures of each class to test on, and without a label.
TEST, UNLABELED_PER_CLASS = 50, 150


def main(argv: Sequence[str]) -> None:
    """Writes the folders."""
    command.run(argv, FLAGS, make)


def make(directory: str, *, labels_per_class: int, seed: int) -> int:
    """Writes the folders; returns the number of unlabeled pictures."""
    photographs = parts.load_photographs(seed=seed)

    def draw(split: str, label: int, rng: np.random.Generator) -> Image.Image:
        photograph = photographs[parts.CLASS_NAMES[label]]
        cells = photograph.cells(split)
        return parts.draw_part(photograph.image, cells[rng.integers(len(cells))], rng)

    sizes = writing.FolderSizes(
        labeled=labels_per_class,
        test=TEST,
        unlabeled=(UNLABELED_PER_CLASS,) * len(parts.CLASS_NAMES),
    )
    return writing.write(directory, parts.CLASS_NAMES, draw, sizes, seed=seed)


if __name__ == "__main__":
    cli.run(main, FLAGS)
