"""Prepares the digits: a TFDS dataset, and its unlabeled part as plain TFRecords.

  python -m examples.digits.prepare --output=runs/demo/data --labels_per_class=5

Then `tfds:digits:labeled` and `tfds:digits:test` are in `--data_dir=OUTPUT`, and
`tfrecord:OUTPUT/unlabeled/*` is what somebody without labels would have.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from absl import flags

from stage import artifact, cli

_OUTPUT = flags.DEFINE_string("output", None, "Directory to make.", required=True)
_LABELS_PER_CLASS = flags.DEFINE_integer(
    "labels_per_class", 5, "Labeled images of each digit.", lower_bound=1
)
_CALIBRATION_IMAGES = flags.DEFINE_integer(
    "calibration_images",
    0,
    "Further labeled images, to judge rounds by: a split of their own.",
    lower_bound=0,
)
_SEED = flags.DEFINE_integer("seed", 0, "Decides which images.", lower_bound=0)
_NUM_SHARDS = flags.DEFINE_integer(
    "num_shards", 8, "TFRecord files of the unlabeled images.", lower_bound=1
)


def main(argv: Sequence[str]) -> None:
    """Writes the dataset and the shards."""
    log = cli.log_for(_OUTPUT.value)
    started = time.monotonic()
    settings = {
        "labels_per_class": _LABELS_PER_CLASS.value,
        "calibration_images": _CALIBRATION_IMAGES.value,
        "seed": _SEED.value,
        "num_shards": _NUM_SHARDS.value,
    }
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        if artifact.start_or_resume(_OUTPUT.value, settings):
            log("already complete")
            return
        cli.load_tensorflow()
        from examples.digits import unlabeled
        from examples.digits.digits_dataset_builder import draw

        config = draw(
            labels_per_class=_LABELS_PER_CLASS.value,
            calibration_images=_CALIBRATION_IMAGES.value,
            seed=_SEED.value,
        )
        builder = unlabeled.prepare_dataset(_OUTPUT.value, config)
    num_images = unlabeled.export_shards(
        builder,
        os.path.join(_OUTPUT.value, "unlabeled"),
        num_shards=_NUM_SHARDS.value,
    )
    artifact.complete(_OUTPUT.value, seconds=time.monotonic() - started)
    log(f"{num_images} unlabeled digits in {_NUM_SHARDS.value} TFRecord files")


if __name__ == "__main__":
    cli.run(main)
