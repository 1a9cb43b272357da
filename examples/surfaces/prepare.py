"""Makes the gray photographs of surfaces of `examples/your_own_folder.md`.

  python -m examples.surfaces.prepare --output=textures --seed=1

Needs the extra `surfaces`. `examples.image_folders.writing` describes the folders,
`examples.surfaces.patches` what they show.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from PIL import Image

from examples.image_folders import writing
from examples.surfaces import patches
from stage import artifact, cli
from stage.flags import CommandFlags

FLAGS = CommandFlags()
_OUTPUT = FLAGS.output("Directory to make.")
_LABELS_PER_CLASS = FLAGS.integer(
    "labels_per_class", 20, "Number of labeled photographs of each kind.", lower_bound=1
)
_SEED = FLAGS.seed("the photographs", lower_bound=0)

#: Number of photographs to test on, and of unlabeled ones, of each class.
TEST, UNLABELED = 50, 300


def main(argv: Sequence[str]) -> None:
    """Writes the folders."""
    log = cli.log_for(_OUTPUT.value)
    started = time.monotonic()
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
    settings = {"labels_per_class": _LABELS_PER_CLASS.value, "seed": _SEED.value}
    with (
        cli.exit_on_job_error(),
        artifact.making(_OUTPUT.value, settings, started=started) as run,
    ):
        if run is None:
            log("already complete")
            return
        make(_OUTPUT.value, **settings)
    log(f"{UNLABELED * len(patches.CLASS_NAMES):,} unlabeled photographs")


def make(directory: str, *, labels_per_class: int, seed: int) -> None:
    """Writes the folders of `examples.image_folders.writing`."""
    photographs = patches.load_photographs(seed=seed)

    def draw(split: str, label: int, rng: np.random.Generator) -> Image.Image:
        of_class = photographs[patches.CLASS_NAMES[label]]
        photograph = of_class[rng.integers(len(of_class))]
        box = photograph.test if split == "test" else photograph.rest
        return patches.draw_patch(photograph.image, box, rng)

    num_classes = len(patches.CLASS_NAMES)
    sizes = writing.FolderSizes(
        labeled=labels_per_class, test=TEST, unlabeled=(UNLABELED,) * num_classes
    )
    writing.write(directory, patches.CLASS_NAMES, draw, sizes, seed=seed)


if __name__ == "__main__":
    cli.run(main, FLAGS)
