r"""Calibrates teachers on labeled images that they were not trained on.

  python -m teacher.calibrate --teacher=runs/photos/teacher-1 \
      --teacher=runs/photos/teacher-2 --out_of_fold=folder:photos/train \
      --output=runs/photos/calibration

Either each teacher has left out a fold of the images (`teacher.train --folds=2
--fold=0`), or none has seen any of them (`--held_out`). Their predictions show how
accuracy depends on confidence, and which temperature makes the two agree.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from stage import cli
from stage.flags import SOURCES, CommandFlags

FLAGS = CommandFlags()
_TEACHER = FLAGS.members("teacher")
_HELD_OUT = FLAGS.string(
    "held_out",
    None,
    f"Labeled images that no teacher was trained on: {SOURCES}. All teachers predict "
    "each of them.",
)
_OUT_OF_FOLD = FLAGS.string(
    "out_of_fold",
    None,
    "The labeled images that the teachers were trained on with --folds, in the same "
    "forms. An image is predicted by the teachers that left out its fold.",
)
_SOURCE = FLAGS.source()
_OUTPUT = FLAGS.output("Directory of the calibration to make.")


def main(argv: Sequence[str]) -> None:
    """Calibrates one teacher, or one ensemble."""
    log = cli.log_for(_OUTPUT.value)
    started = time.monotonic()
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        cli.load_tensorflow()
        from classifier.inference import calibration

        config, parts = calibration.plan(
            _TEACHER.value,
            held_out=_open(_HELD_OUT.value),
            out_of_fold=_open(_OUT_OF_FOLD.value),
        )
    with cli.making(_OUTPUT.value, config, started=started, log=log) as run:
        if run is None:
            return
        predicted = [calibration.predict(part) for part in parts]
        facts = calibration.write(_OUTPUT.value, config, predicted)
    for line in calibration.describe(facts):
        log(line)


def _open(spec: str | None) -> Any:
    from classifier.data.sources import open_source

    return None if spec is None else open_source(spec, **_SOURCE.arguments())


if __name__ == "__main__":
    cli.run(main, FLAGS)
