"""Makes the gray photographs of surfaces of `examples/your_own_folder.md`.

  python -m examples.surfaces.prepare --output=textures --seed=1

Needs the extra `surfaces`. `examples.image_folders.writing` describes the folders,
`examples.surfaces.patches` what they show.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from examples.image_folders import command, writing
from examples.surfaces import patches
from stage import cli

FLAGS = command.define_flags(labels_per_class=20)

#: Numbers of photographs of each class to test on, and without a label.
TEST, UNLABELED_PER_CLASS = 50, 300


def main(argv: Sequence[str]) -> None:
    """Writes the folders."""
    command.run(argv, FLAGS, make)


def make(directory: str, *, labels_per_class: int, seed: int) -> int:
    """Writes the folders; returns the number of unlabeled pictures."""
    photographs = patches.load_photographs(seed=seed)

    def draw(split: str, label: int, rng: np.random.Generator) -> Image.Image:
        of_class = photographs[patches.CLASS_NAMES[label]]
        photograph = of_class[rng.integers(len(of_class))]
        box = photograph.test if split == "test" else photograph.rest
        return patches.draw_patch(photograph.image, box, rng)

    sizes = writing.FolderSizes(
        labeled=labels_per_class,
        test=TEST,
        unlabeled=(UNLABELED_PER_CLASS,) * len(patches.CLASS_NAMES),
    )
    return writing.write(directory, patches.CLASS_NAMES, draw, sizes, seed=seed)


if __name__ == "__main__":
    cli.run(main, FLAGS)
