r"""Verifies a written dataset against its predictions and its selection.

  python -m pseudo_label.verify runs/photos/dataset

Decides about each prediction again, reads each record with TensorFlow, and compares
image, label, probabilities and origin. Prints the counts and ends with `ok`, or exits
with status 1 and the first difference. Predictions and selection are read from the
directories that the dataset was made from, unless others are given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from stage import cli
from stage.flags import CommandFlags

FLAGS = CommandFlags()
_PREDICTIONS = FLAGS.artifact("predictions", ", if moved since", required=False)
_SELECTION = FLAGS.artifact("selection", ", if moved since", required=False)


def main(argv: Sequence[str]) -> None:
    """Verifies the dataset."""
    with cli.exit_on_user_error():
        if len(argv) != 2:
            raise ValueError(
                f"expected one directory of a dataset, got {' '.join(argv[1:])!r}"
            )
        from pseudo_label.dataset import verify_selection

        lineage = verify_selection.open_lineage(
            argv[1], predictions=_PREDICTIONS.value, selection=_SELECTION.value
        )
        kept, counts = verify_selection.count_predictions(lineage)
        cli.load_tensorflow()
        from pseudo_label.dataset import verify_records

        counts += verify_records.count_records(lineage, kept)
    for line in _format_counts(counts):
        cli.log(line)


def _format_counts(counts: Iterable[Any]) -> Iterator[str]:
    yield f"{'':34}{'expected':>14}{'found':>14}"
    for count in counts:
        expected = f"{count.expected:,}" if count.expected is not None else ""
        yield f"{count.what:34}{expected:>14}{count.found:>14,}"
    yield "ok"


if __name__ == "__main__":
    cli.run(main, FLAGS)
