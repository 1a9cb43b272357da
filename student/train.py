r"""Trains a noised student on labeled and pseudo-labeled images and exports it.

  python -m student.train --preset=tiny --labeled=folder:photos/train \
      --pseudo_labeled=runs/photos/dataset --evaluation=folder:photos/test \
      --workdir=runs/photos/student --set=mixture.temperature=0.5

Training length, network width and noise follow from the number of images unless --set
gives them, see `docs/students.md`. With --control the same command trains the control:
the same network, noise and number of steps on the labeled images alone. Started again,
the same command continues from its last checkpoint.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

from classifier.training import devices
from classifier.training.config import check_consistency
from stage import cli
from stage.flags import CommandFlags
from stage.overrides import override_all, paths_of
from student.training import budget, presets

FLAGS = CommandFlags()
_DATA = FLAGS.training_data()
_PSEUDO_LABELED = FLAGS.artifact(
    "pseudo_labeled", "; without, only labeled images are used", required=False
)
_CONTROL = FLAGS.boolean(
    "control",
    False,
    "Train on labeled images only, for as many steps as with --pseudo_labeled.",
)
_RUN = FLAGS.training(
    presets.PRESETS, devices.BACKENDS, example="mixture.labeled_fraction=0.5"
)


def main(argv: Sequence[str]) -> None:
    """Trains one student, or its control."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        recipe = override_all(
            dataclasses.replace(presets.find(_RUN.preset.value), seed=_RUN.seed.value),
            _RUN.set.value,
        )
        check_consistency(_RUN.set.value, is_used=False)
        if _CONTROL.value and _PSEUDO_LABELED.value is None:
            raise ValueError(
                "--control needs --pseudo_labeled, whose size sets the steps"
            )
        hardware = devices.load_backend(_RUN.backend.value, _RUN.distributed.value)
        from classifier.training import trainer
        from student.training import mixture

        sources = trainer.open_sources(**_DATA.arguments())
        pseudo_labeled = _PSEUDO_LABELED.value and mixture.open_pseudo_labeled(
            _PSEUDO_LABELED.value, sources.class_names
        )
        sources = trainer.inspect(sources)
        sizes = budget.Sizes(
            labeled=sources.labeled.num_examples,
            pseudo_labeled=pseudo_labeled.source.num_examples if pseudo_labeled else 0,
        )
        config = budget.fit_budget(recipe, sizes, fixed=paths_of(_RUN.set.value))
        hardware.check(config)
        run = trainer.open_run(
            config,
            sources,
            init_from=_RUN.init_from.value,
            new_head=_RUN.new_head.value,
        )
        if _CONTROL.value:
            pseudo_labeled = None
        make_batches = mixture.plan_batches(run, config, pseudo_labeled)
        check_records = functools.partial(
            mixture.check_records, pseudo_labeled, config, len(run.class_names)
        )
        check_records(count=trainer.NUM_CHECKED)
        description = {
            **run.describe(),
            "sizes": dataclasses.asdict(sizes),
            "pseudo_labeled": pseudo_labeled and pseudo_labeled.fingerprint,
        }
        with devices.started_run(
            description, hardware, _RUN.workdir.value, profile=_RUN.profile.value
        ) as context:
            if context is not None:
                if _PSEUDO_LABELED.value is None:
                    context.log("no --pseudo_labeled: only labeled images are used")
                context.log(budget.describe(config, sizes))
                trainer.train(run, make_batches, context, check_others=check_records)


if __name__ == "__main__":
    cli.run(main, FLAGS)
