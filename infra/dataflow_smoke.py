"""Looks at what a small job on Dataflow has made, and says what to do next.

`make dataflow-smoke` runs it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from stage import cli
from stage.flags import CommandFlags

FLAGS = CommandFlags()
_PREDICTIONS = FLAGS.artifact("predictions")
_NUM_IMAGES = FLAGS.integer("num_images", 100, "Number of images that were labeled.")
_REMOTE = FLAGS.string(
    "remote", None, "Directory of the run in the bucket.", required=True
)


def main(argv: Sequence[str]) -> None:
    """Counts the rows."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        counts = count_statuses(_PREDICTIONS.value)
        if counts != {"ok": _NUM_IMAGES.value}:
            found = ", ".join(f"{counts[name]} {name}" for name in sorted(counts))
            raise ValueError(
                f"expected {_NUM_IMAGES.value} ok in {_PREDICTIONS.value}, got "
                f"{found or 'no row'}"
            )
    for line in (
        f"Dataflow has labeled {_NUM_IMAGES.value} images, and their rows are here",
        f"delete them in the bucket: gcloud storage rm --recursive {_REMOTE.value}",
        "next, see docs/dataflow.md: make estimate, then make labels RUNNER=dataflow",
    ):
        cli.log(line)


def count_statuses(directory: str) -> Counter[str]:
    """Returns the number of rows of each status in all files of predictions."""
    from pseudo_label.predictions import schema
    from pseudo_label.predictions.prediction_set import open_predictions

    predictions = open_predictions(directory)
    counts: Counter[str] = Counter()
    for index in range(predictions.num_shards):
        counts.update(schema.read_facts(predictions.path(index)).status_counts)
    return counts


if __name__ == "__main__":
    cli.run(main, FLAGS)
