r"""Trains a ResNet-RS teacher on labeled images and exports it.

  python -m teacher.train --preset=tiny --labeled=folder:photos/train \
      --evaluation=folder:photos/test --workdir=runs/photos/teacher \
      --set=num_steps=2000 --set=optimizer.peak_learning_rate=0.05

With --unlabeled=SOURCE it also learns from images without labels, see
`docs/teachers.md`; the settings are in the group `consistency` of the recipe.
Started again, the same command continues from its last checkpoint.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from classifier.training import budget, devices, presets
from classifier.training.config import TrainConfig, check_consistency
from classifier.training.devices import RunContext
from stage import cli
from stage.flags import SOURCES, CommandFlags
from stage.overrides import override_all, paths_of

if TYPE_CHECKING:  # Both import TensorFlow.
    from classifier.data.sampling import UnlabeledSample
    from classifier.training.trainer import TrainingRun

FLAGS = CommandFlags()
_DATA = FLAGS.training_data()
_RUN = FLAGS.training(
    presets.PRESETS, devices.BACKENDS, example="optimizer.peak_learning_rate=0.1"
)
_UNLABELED = FLAGS.string(
    "unlabeled", None, f"Images without labels to learn from as well: {SOURCES}."
)
_UNLABELED_IMAGE_FEATURE = FLAGS.string(
    "unlabeled_image_feature", None, "As --image_feature, of --unlabeled."
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
        check_consistency(_RUN.set.value, is_used=_UNLABELED.value is not None)
        hardware = devices.load_backend(_RUN.backend.value, _RUN.distributed.value)
        from classifier.data import folds
        from classifier.training import trainer, unlabeled

        fold = folds.find_fold(_FOLDS.value, _FOLD.value)
        sources = trainer.inspect(trainer.open_sources(**_DATA.arguments()))
        config = budget.fit_budget(
            recipe,
            lambda: sources.labeled.num_examples,
            epochs=presets.epochs(_RUN.preset.value),
            fixed=paths_of(_RUN.set.value),
        )
        hardware.check(config)
        sample = None
        if _UNLABELED.value is not None:
            unlabeled.check(config, hardware)
            sample = _open_sample(config)
        run = trainer.open_run(
            config,
            sources,
            init_from=_RUN.init_from.value,
            new_head=_RUN.new_head.value,
        )
        if fold is not None:
            run = trainer.leave_out(run, fold)
        if sample is not None:
            run = dataclasses.replace(run, unlabeled=sample.source)
        with devices.started_run(
            run.describe(), hardware, _RUN.workdir.value, profile=_RUN.profile.value
        ) as context:
            if context is not None:
                _train(run, sample, context)


def _open_sample(config: TrainConfig) -> UnlabeledSample:
    from classifier.training import unlabeled

    return unlabeled.open_sample(
        _UNLABELED.value,
        config,
        data_dir=_DATA.data_dir.value,
        image_feature=_UNLABELED_IMAGE_FEATURE.value,
    )


def _train(
    run: TrainingRun, sample: UnlabeledSample | None, context: RunContext
) -> None:
    from classifier.training import trainer, unlabeled

    if sample is None:
        trainer.train(run, run.labeled_batches, context)
        return
    context.log(unlabeled.describe(sample, run.config))
    trainer.train(
        run,
        unlabeled.plan_batches(run),
        context,
        check_others=lambda: unlabeled.check_again(sample, _open_sample(run.config)),
    )


if __name__ == "__main__":
    cli.run(main, FLAGS)
