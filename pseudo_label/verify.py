r"""Counts a written dataset again: every prediction, every record, every byte of them.

  python -m pseudo_label.verify runs/photos/dataset

Decides about each prediction anew, reads each record with TensorFlow, and compares
image, label, probabilities and origin. Prints what it has counted and ends with `ok`,
or, with status 1, names the first thing that is not as it should be. The directories
of predictions and selection are those that the dataset was made of, unless they are
given.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence

from absl import app, flags, logging

from pseudo_label.dataset import verify_selection
from pseudo_label.dataset.verify_selection import Count

_PREDICTIONS = flags.DEFINE_string(
    "predictions", None, "Where the predictions are now, if they were moved."
)
_SELECTION = flags.DEFINE_string(
    "selection", None, "Where the selection is now, if it was moved."
)


def main(argv: Sequence[str]) -> None:
    """Verifies the dataset."""
    logging.set_verbosity(logging.ERROR)
    try:
        if len(argv) != 2:
            raise ValueError(
                f"expected one directory of a dataset, got {' '.join(argv[1:])!r}"
            )
        chain = verify_selection.open_chain(
            argv[1], predictions=_PREDICTIONS.value, selection=_SELECTION.value
        )
        kept, counts = verify_selection.count_predictions(chain)
        with _without_greetings():
            from pseudo_label.dataset import verify_records

        counts += verify_records.count_records(chain, kept)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
    sys.stdout.writelines(line + "\n" for line in tell(counts))


def tell(counts: Iterable[Count]) -> Iterator[str]:
    """Yields the counts as a table, and that they are right."""
    yield f"{'':34}{'expected':>14}{'found':>14}"
    for count in counts:
        expected = f"{count.expected:,}" if count.expected is not None else ""
        yield f"{count.what:34}{expected:>14}{count.found:>14,}"
    yield "ok"


@contextlib.contextmanager
def _without_greetings() -> Iterator[None]:
    """Keeps from the terminal what TensorFlow says of the processor."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    stderr = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


if __name__ == "__main__":
    app.run(main)
