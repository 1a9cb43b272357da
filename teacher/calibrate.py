r"""Asks teachers about labeled images that they have not learned from.

  python -m teacher.calibrate --teacher=runs/photos/teacher-1 \
      --teacher=runs/photos/teacher-2 --out_of_fold=folder:photos/train \
      --output=runs/photos/calibration

The teachers have each left out a fold of the images (`teacher.train --folds=2
--fold=0`), or were never shown any of them: `--held_out`. What they say tells how
often they are right when they are so sure, and which temperature makes their
probabilities say it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from absl import flags

from stage import artifact, cli

_TEACHER = flags.DEFINE_multi_string(
    "teacher",
    None,
    "Directory of a trained classifier. Given several times, the mean of their "
    "probabilities counts",
    required=True,
)
_HELD_OUT = flags.DEFINE_string(
    "held_out",
    None,
    "Labeled images that no teacher was trained on, as tfds:NAME:SPLIT, folder:PATH or "
    "tfrecord:GLOB. All teachers predict each.",
)
_OUT_OF_FOLD = flags.DEFINE_string(
    "out_of_fold",
    None,
    "The labeled images that the teachers were trained on with --folds, in the same "
    "forms. Those predict an image that left out its fold.",
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "Directory of the calibration to make.", required=True
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where TFDS keeps its datasets; its own default if not given."
)
_CLASS_NAMES = flags.DEFINE_string(
    "class_names", None, "Text file, one class name a line; needed for tfrecord:."
)


def main(argv: Sequence[str]) -> None:
    """Calibrates one teacher, or one ensemble."""
    log = cli.log_for(_OUTPUT.value)
    started = time.monotonic()
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        cli.load_tensorflow()
        from classifier.inference import calibration

        plan = calibration.plan(
            _TEACHER.value,
            held_out=_open(_HELD_OUT.value),
            out_of_fold=_open(_OUT_OF_FOLD.value),
        )
        if artifact.start_or_resume(_OUTPUT.value, plan.config):
            log("already complete")
            return
    with cli.exit_on_job_error():
        predicted = [calibration.predict(part) for part in plan.parts]
        facts = calibration.write(_OUTPUT.value, plan.config, predicted)
    for line in calibration.describe(facts):
        log(line)
    artifact.complete(_OUTPUT.value, seconds=time.monotonic() - started)


def _open(spec: str | None) -> Any:
    from classifier.data.sources import open_source

    if spec is None:
        return None
    return open_source(
        spec, data_dir=_DATA_DIR.value, class_names_file=_CLASS_NAMES.value
    )


if __name__ == "__main__":
    cli.run(main)
