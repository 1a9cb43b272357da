r"""Selects, of all predictions, the best of every class.

  python -m beam_jobs.select_labels --predictions=runs/photos/predictions \
      --confidence_threshold=0.5 --images_per_class=1000 --max_copies=3 \
      --output=runs/photos/selection

Beam's options follow `--`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from absl import flags

from classifier import artifact, command

_PREDICTIONS = flags.DEFINE_string(
    "predictions", None, "What beam_jobs.label_images has made.", required=True
)
_THRESHOLD = flags.DEFINE_float(
    "confidence_threshold", 0.5, "Lowest confidence to keep, in [0, 1]."
)
_IMAGES_PER_CLASS = flags.DEFINE_integer(
    "images_per_class",
    0,
    "Records each class shall have; 0 for an even share of all images labeled.",
    lower_bound=0,
)
_MAX_COPIES = flags.DEFINE_integer(
    "max_copies", 3, "How often one image may be written to fill its class."
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "Directory of the selection to make.", required=True
)


def main(argv: Sequence[str]) -> None:
    """Runs the selection job."""
    say = command.say_for(_OUTPUT.value)
    started = time.monotonic()
    with command.refusing_bad_input():
        from beam_jobs import selecting
        from beam_jobs.prediction_set import open_predictions
        from beam_jobs.runners import parse_beam_arguments
        from pseudo_label.select import SelectionConfig

        options = parse_beam_arguments(argv, name=_OUTPUT.value)
        predictions = open_predictions(_PREDICTIONS.value)
        settings = SelectionConfig(
            confidence_threshold=_THRESHOLD.value,
            images_per_class=_IMAGES_PER_CLASS.value or predictions.even_share,
            max_copies=_MAX_COPIES.value,
        )
        config = selecting.describe(predictions, settings)
        if artifact.begin(_OUTPUT.value, config):
            say("already complete")
            return
    with command.refusing_failed_work():
        selecting.run(predictions, settings, options, output=_OUTPUT.value)
    for line in selecting.tell(_OUTPUT.value):
        say(line)
    artifact.complete(_OUTPUT.value, seconds=time.monotonic() - started)


if __name__ == "__main__":
    command.run(main)
