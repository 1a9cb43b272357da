r"""Trains a ResNet-RS teacher on labeled images and exports it.

  python -m teacher.train --preset=tiny --labeled=folder:photos/train \
      --evaluation=folder:photos/test --workdir=runs/photos/teacher \
      --set=num_steps=2000 --set=optimizer.peak_learning_rate=0.05

Started again, the same command continues from its last checkpoint.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from classifier.training import budget, devices, presets
from stage import cli
from stage.flags import CommandFlags
from stage.overrides import override_all, paths_of

FLAGS = CommandFlags()
_DATA = FLAGS.training_data()
_RUN = FLAGS.training(
    presets.PRESETS, devices.BACKENDS, example="optimizer.peak_learning_rate=0.1"
)
_FOLDS = FLAGS.integer(
    "folds", 0, "Parts to divide the labeled images into; 0 to train on all of them."
)
_FOLD = FLAGS.integer("fold", None, "With --folds: the part to leave out, from 0 on.")


def main(argv: Sequence[str]) -> None:
    """Trains one teacher."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        recipe = override_all(
            dataclasses.replace(presets.find(_RUN.preset.value), seed=_RUN.seed.value),
            _RUN.set.value,
        )
        hardware = devices.load_backend(_RUN.backend.value, _RUN.distributed.value)
        from classifier.data import folds
        from classifier.training import trainer

        fold = folds.find_fold(_FOLDS.value, _FOLD.value)
        sources = trainer.inspect(trainer.open_sources(**_DATA.arguments()))
        config = budget.fit_budget(
            recipe,
            lambda: sources.labeled.num_examples,
            epochs=presets.epochs(_RUN.preset.value),
            fixed=paths_of(_RUN.set.value),
        )
        hardware.check(config)
        run = trainer.open_run(
            config,
            sources,
            init_from=_RUN.init_from.value,
            new_head=_RUN.new_head.value,
        )
        if fold is not None:
            run = trainer.leave_out(run, fold)
        with devices.started_run(
            run.describe(), hardware, _RUN.workdir.value, profile=_RUN.profile.value
        ) as context:
            if context is not None:
                trainer.train(run, run.labeled_batches, context)


if __name__ == "__main__":
    cli.run(main, FLAGS)
