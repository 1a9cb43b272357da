"""Tabulates which altered copies are found, by their hash and by embeddings.

  python -m benchmarks.duplicates --teacher=runs/birds/teacher --teacher=runs/probe

The pictures are 90 cells of ten photographs (`examples.photographs`, the extra
`surfaces`), none of which overlap. The rows are kinds of copies, and the last is the
share of pairs of different pictures that are taken for copies. The columns are bits of
the perceptual hash that may differ, and lowest cosines of each teacher's embeddings:
what `--duplicate_bits` and `--duplicate_similarity` of `beam_jobs.select_labels` find
if copies have the same predicted class. Pixels are those of the first teacher.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from benchmarks.duplicates.alterations import ALTERATIONS, draw_pictures
from stage import cli
from stage.flags import CommandFlags

if TYPE_CHECKING:
    from classifier.inference.ensemble import Ensemble

FLAGS = CommandFlags()
_TEACHERS = FLAGS.strings(
    "teacher", None, "Directory of a classifier with embeddings.", required=True
)
BITS = (0, 1, 2, 3)
COSINES = (0.8, 0.85, 0.9, 0.95, 0.98)
_DIFFERENT = "different pictures"


def main(argv: Sequence[str]) -> None:
    """Measures and prints."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        cli.load_tensorflow()
        from classifier.inference.ensemble import Ensemble

        ensembles = [Ensemble([path], embeddings=True) for path in _TEACHERS.value]
    pictures = list(draw_pictures())
    decoded = [Image.open(io.BytesIO(picture)) for picture in pictures]
    copies = {
        name: [alter(image) for image in decoded] for name, alter in ALTERATIONS.items()
    }
    cli.log(_row("hash: bits", BITS))
    for name, shares in compare_hashes(ensembles[0], pictures, copies).items():
        cli.log(_row(name, [f"{share:.1%}" for share in shares]))
    for path, ensemble in zip(_TEACHERS.value, ensembles, strict=True):
        cli.log(_row(f"{path}: cosine", COSINES))
        for name, shares in compare_embeddings(ensemble, pictures, copies).items():
            cli.log(_row(name, [f"{share:.1%}" for share in shares]))


def compare_hashes(
    ensemble: Ensemble, pictures: Sequence[bytes], copies: dict[str, list[bytes]]
) -> dict[str, list[float]]:
    """Returns, for each of `BITS`, the share of copies and of different pairs."""
    from pseudo_label.predictions.perceptual_hash import perceptual_hashes

    def hashes(images: Sequence[bytes]) -> Any:
        return np.concatenate(
            [perceptual_hashes(block.pixels) for block in _blocks(ensemble, images)]
        )

    def distances(some: Any, others: Any) -> Any:
        return -np.bitwise_count(some[:, None] ^ others).astype(int)

    return _shares(hashes, distances, pictures, copies, [-bits for bits in BITS])


def compare_embeddings(
    ensemble: Ensemble, pictures: Sequence[bytes], copies: dict[str, list[bytes]]
) -> dict[str, list[float]]:
    """Returns, for each of `COSINES`, the share of copies and of different pairs."""

    def embeddings(images: Sequence[bytes]) -> Any:
        blocks = _blocks(ensemble, images)
        found = [ensemble.predict(block).embeddings for block in blocks]
        return np.concatenate([block for block in found if block is not None])

    def cosines(some: Any, others: Any) -> Any:
        return some @ others.T

    return _shares(embeddings, cosines, pictures, copies, COSINES)


def _shares(
    describe: Any,
    compare: Any,
    pictures: Sequence[bytes],
    copies: dict[str, list[bytes]],
    limits: Sequence[float],
) -> dict[str, list[float]]:
    originals = describe(pictures)
    found = {
        name: np.diagonal(compare(originals, describe(images)))
        for name, images in copies.items()
    }
    pairs = np.triu_indices(len(pictures), k=1)
    found[_DIFFERENT] = compare(originals, originals)[pairs]
    return {
        name: [float((values >= limit).mean()) for limit in limits]
        for name, values in found.items()
    }


def _blocks(ensemble: Ensemble, images: Sequence[bytes]) -> list[Any]:
    from classifier.data.examples import UNLABELED, Example
    from classifier.inference.ensemble import BATCH_SIZE

    examples = [Example(b"", image, UNLABELED) for image in images]
    starts = range(0, len(examples), BATCH_SIZE)
    return [ensemble.decode(examples[start : start + BATCH_SIZE]) for start in starts]


def _row(name: str, values: Sequence[object]) -> str:
    return f"{name:32}" + "".join(f"{value!s:>9}" for value in values)


if __name__ == "__main__":
    cli.run(main, FLAGS)
