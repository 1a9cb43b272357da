r"""Splits a folder of labeled images into those to learn from and those to test on.

  python -m workflow.split --labeled=folder:birds/labeled --output=runs/birds/split

writes `labeled.csv` and `evaluation.csv`, tables of paths and labels that every command
takes as `csv:FILE`. A run does so if it has no evaluation images. The share is rounded
for each class alone, to at least one image and leaving at least one: of three classes
of 12 images, a fifth is 2 each, 6 of 36.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import time
from collections.abc import Iterable, Sequence

from stage import artifact, cli
from stage.flags import CommandFlags, is_folder_source

FLAGS = CommandFlags()
_LABELED = FLAGS.string(
    "labeled", None, "Folder with a sub-folder for each class.", required=True
)
_SHARE = FLAGS.number(
    "share",
    0.2,
    "Share of each class that is held out, rounded to a whole number of at least one.",
    lower_bound=0,
    upper_bound=0.9,
)
_SEED = FLAGS.seed("the choice of images")
_OUTPUT = FLAGS.output("Directory to make.")


def main(argv: Sequence[str]) -> None:
    """Writes both tables."""
    log = cli.log_for(_OUTPUT.value)
    started = time.monotonic()
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        from classifier.data import listing

        cli.load_tensorflow()  # TFDS, which sources need, imports it with messages.
        from classifier.data.sources import open_source

        if not is_folder_source(_LABELED.value):
            raise ValueError(
                f"expected a folder to hold out images of, got {_LABELED.value}; give "
                "images to evaluate on"
            )
        source = open_source(_LABELED.value)
        names = source.labeled_class_names()
        images = [(file.path, names[file.label]) for file in source.files]
        held_out = choose(images, share=_SHARE.value, seed=_SEED.value)
        config = {
            "labeled": source.describe(),
            # So what reads the tables is not that of images that were replaced.
            "files": listing.fingerprint_states(source.files),
            "share": _SHARE.value,
            "seed": _SEED.value,
        }
    with cli.making(_OUTPUT.value, config, started=started, log=log) as run:
        if run is not None:
            parts = {
                "labeled": [image for image in images if image[0] not in held_out],
                "evaluation": [image for image in images if image[0] in held_out],
            }
            for name, part in parts.items():
                path = os.path.join(_OUTPUT.value, f"{name}.csv")
                artifact.write_bytes(path, _to_csv(part, start=_OUTPUT.value))
            log(f"{len(held_out):,} of {len(images):,} labeled images are held out")


def choose(
    images: Iterable[tuple[str, str]], *, share: float, seed: int
) -> frozenset[str]:
    """Returns the paths to hold out, a share of each class.

    The order depends on the names of files in their folder and the seed alone.

    Args:
        images: Path and class of each image.
        share: Share of each class, in [0, 1); at least one image.
        seed: Random seed.

    Raises:
        ValueError: If a class has one image only.
    """
    by_class: dict[str, list[str]] = {}
    for path, name in images:
        by_class.setdefault(name, []).append(path)
    held_out: set[str] = set()
    for name, paths in by_class.items():
        if len(paths) < 2:
            raise ValueError(
                f"class {name!r} has one image, too few to hold out one: give images "
                "to evaluate on"
            )
        count = min(max(round(share * len(paths)), 1), len(paths) - 1)
        held_out |= set(sorted(paths, key=lambda path: _rank(path, seed))[:count])
    return frozenset(held_out)


def _rank(path: str, seed: int) -> bytes:
    text = f"{seed} {os.path.basename(path)}"
    return hashlib.blake2b(os.fsencode(text)).digest()


def _to_csv(images: Iterable[tuple[str, str]], *, start: str) -> bytes:
    """Returns a table whose paths are relative to the directory that it is in."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("path", "label"))
    writer.writerows(
        (artifact.relative_path(path, start=start), name) for path, name in images
    )
    return text.getvalue().encode(errors="surrogateescape")


if __name__ == "__main__":
    cli.run(main, FLAGS)
