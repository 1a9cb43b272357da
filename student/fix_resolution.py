r"""Trains a student's last phase: a few steps at a higher resolution, without noise.

  python -m student.fix_resolution --student=runs/photos/student \
      --labeled=folder:photos/train --evaluation=folder:photos/test \
      --workdir=runs/photos/student-large

The result is a classifier like any other. Started again, the same command continues
from its last checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence

from classifier.training import devices, tracking
from classifier.training.config import override_recipe, read_run
from stage import artifact, cli, licenses
from stage.flags import CommandFlags
from stage.overrides import paths_of
from student.training import presets

FLAGS = CommandFlags()
_STUDENT = FLAGS.artifact("student")
_DATA = FLAGS.training_data()
_WORKDIR = FLAGS.workdir()
_IMAGE_SIZE = FLAGS.integer(
    "image_size", None, "Side in pixels; 5/4 of the student's if not given."
)
_SET = FLAGS.set("optimizer.peak_learning_rate=0.001")
_BACKEND = FLAGS.backend(devices.BACKENDS)
_LOG_TO = FLAGS.log_to()
_LICENSES = FLAGS.licenses(labeled=_DATA.labeled)


def main(argv: Sequence[str]) -> None:
    """Trains the last phase of one student."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        stated = licenses.parse(**_LICENSES.arguments())
        log_to = tracking.parse(_LOG_TO.value)
        path = artifact.require_complete(_STUDENT.value, "student")
        trained = read_run(path).recipe
        hardware = devices.load_backend(_BACKEND.value)
        from classifier.training import initial_weights, trainer

        sources = trainer.inspect(trainer.open_sources(**_DATA.arguments()))
        recipe = presets.last_phase(
            trained,
            num_labeled=sources.labeled.num_examples,
            image_size=_IMAGE_SIZE.value,
        )
        config = override_recipe(recipe, _SET.value)
        hardware.check(config)
        config, initial = initial_weights.open_for(
            config, _STUDENT.value, fixed=paths_of(_SET.value)
        )
        run = trainer.open_run(config, sources, initial=initial, stated=stated)
        with devices.started_run(
            run.describe(),
            hardware,
            _WORKDIR.value,
            ledger=run.ledger,
            log_to=log_to,
        ) as context:
            if context is not None:
                trainer.train(run, run.labeled_batches, context)


if __name__ == "__main__":
    cli.run(main, FLAGS)
