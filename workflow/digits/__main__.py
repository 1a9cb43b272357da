"""Prepares the digits: a TFDS dataset, and its unlabeled part as plain TFRecords.

  python -m workflow.digits --output=runs/demo/data --labels_per_class=5

Then `tfds:digits/labels5_seed1:labeled` and `:test` are in `--data_dir=OUTPUT`, and
`tfrecord:OUTPUT/unlabeled/*` are the unlabeled images.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import time
from collections.abc import Sequence

from stage import cli
from stage.flags import CommandFlags

FLAGS = CommandFlags()
_OUTPUT = FLAGS.output("Directory to make.")
_LABELS_PER_CLASS = FLAGS.integer(
    "labels_per_class", 5, "Number of labeled images of each digit.", lower_bound=1
)
_CALIBRATION_IMAGES = FLAGS.integer(
    "calibration_images",
    0,
    "Number of further labeled images, a split of their own to compare rounds on.",
    lower_bound=0,
)
_SEED = FLAGS.seed("the choice of images", lower_bound=0)
_NUM_SHARDS = FLAGS.num_shards(
    8, "Number of TFRecord files of the unlabeled images.", lower_bound=1
)


def main(argv: Sequence[str]) -> None:
    """Writes the dataset and the shards."""
    log = cli.log_for(_OUTPUT.value)
    started = time.monotonic()
    num_shards = _NUM_SHARDS.value
    settings = {
        "labels_per_class": _LABELS_PER_CLASS.value,
        "calibration_images": _CALIBRATION_IMAGES.value,
        "seed": _SEED.value,
    }
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
    config = {**settings, "num_shards": num_shards}
    with cli.making(_OUTPUT.value, config, started=started, log=log) as run:
        if run is None:
            return
        cli.load_tensorflow()
        from workflow.digits import digits_dataset_builder as digits

        # TFDS leaves them behind if it is killed.
        for left in pathlib.Path(_OUTPUT.value).glob("digits/*/incomplete.*"):
            shutil.rmtree(left)
        builder = digits.prepare_dataset(_OUTPUT.value, digits.make_config(**settings))
        num_images = digits.export_unlabeled(
            builder, os.path.join(_OUTPUT.value, "unlabeled"), num_shards=num_shards
        )
    log(f"{num_images} unlabeled digits in {num_shards} TFRecord files")


if __name__ == "__main__":
    cli.run(main, FLAGS)
