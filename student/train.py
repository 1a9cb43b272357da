r"""Trains a noised student on labeled and pseudo-labeled images and exports it.

  python -m student.train --preset=tiny --labeled=folder:photos/train \
      --pseudo_labeled=runs/photos/dataset --evaluation=folder:photos/test \
      --workdir=runs/photos/student --set=mixture.target_kind=soft

Training length, batch size, mixture, targets and noise follow from the numbers of
images unless --set gives them, see `docs/students.md`. With --control the same command
trains the control: the same network and noise on the labeled images alone, for as many
steps as the student or, with --compute_of, until it has computed as much as the whole
chain. Started again, the same command continues from its last checkpoint.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

from classifier.training import devices, tracking
from classifier.training.config import override_recipe
from stage import cli, licenses
from stage.flags import CommandFlags
from stage.overrides import paths_of
from student.training import budget, presets
from student.training.config import StudentConfig, check_assignments

FLAGS = CommandFlags()
_DATA = FLAGS.training_data()
_PSEUDO_LABELED = FLAGS.artifact(
    "pseudo_labeled", "; without, only labeled images are used", required=False
)
_CONTROL = FLAGS.boolean(
    "control",
    False,
    "Train on labeled images only, for as many steps as with --pseudo_labeled, or as "
    "--compute_of says.",
)
_COMPUTE_OF = FLAGS.strings(
    "compute_of",
    [],
    "With --control: directory of a teacher, or of predictions of the first round. The "
    "control computes as much as all of these and --rounds students.",
)
_ROUNDS = FLAGS.integer(
    "rounds", 1, "With --compute_of: number of students of the chain.", lower_bound=1
)
_RUN = FLAGS.training(
    presets.PRESETS, devices.BACKENDS, example="mixture.labeled_fraction=0.5"
)
_LICENSES = FLAGS.licenses(labeled=_DATA.labeled, init_from=_RUN.init_from)


def main(argv: Sequence[str]) -> None:
    """Trains one student, or its control."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        recipe = override_recipe(
            dataclasses.replace(presets.find(_RUN.preset.value), seed=_RUN.seed.value),
            _RUN.set.value,
        )
        check_assignments(recipe, _RUN.set.value)
        _check_control()
        stated = licenses.parse(**_LICENSES.arguments())
        log_to = tracking.parse(_RUN.log_to.value)
        hardware = devices.load_backend(_RUN.backend.value, _RUN.distributed.value)
        hardware.input_shards(recipe.input_shards)  # Before any image is read.
        from classifier.probing import head_first
        from classifier.training import initial_weights, trainer
        from student.training import mixture

        recipe, initial = initial_weights.open_for(
            recipe, _RUN.init_from.value, fixed=paths_of(_RUN.set.value)
        )
        sources = trainer.open_sources(**_DATA.arguments())
        pseudo_labeled = _PSEUDO_LABELED.value and mixture.open_pseudo_labeled(
            _PSEUDO_LABELED.value, sources.class_names
        )
        sources = trainer.inspect(sources)
        sizes = budget.Sizes(
            labeled=sources.labeled.num_examples,
            pseudo_labeled=pseudo_labeled.source.num_examples if pseudo_labeled else 0,
        )
        num_classes = len(sources.class_names)
        is_pretrained = initial is not None and initial.is_pretrained
        config, remark = _fit(recipe, sizes, num_classes, is_pretrained=is_pretrained)
        hardware.check(config)
        run = trainer.open_run(
            config,
            sources,
            initial=initial,
            new_head=_RUN.new_head.value,
            stated=stated,
        )
        head_first.fit_new_head(run)
        learned, ledger = sizes, run.ledger
        if _CONTROL.value:
            pseudo_labeled = None
            learned = dataclasses.replace(sizes, pseudo_labeled=0)
        elif pseudo_labeled:
            ledger = licenses.merge(ledger, licenses.read(_PSEUDO_LABELED.value))
        make_batches = mixture.plan_batches(run, config, pseudo_labeled)
        check_records = functools.partial(
            mixture.check_records, pseudo_labeled, config, num_classes
        )
        check_records(count=trainer.NUM_CHECKED)
        description = {
            **run.describe(),
            "sizes": dataclasses.asdict(sizes),
            "pseudo_labeled": pseudo_labeled and pseudo_labeled.fingerprint,
        }
        with devices.started_run(
            description,
            hardware,
            _RUN.workdir.value,
            ledger=ledger,
            profile=_RUN.profile.value,
            log_to=log_to,
        ) as context:
            if context is not None:
                if _PSEUDO_LABELED.value is None:
                    context.log("no --pseudo_labeled: only labeled images are used")
                context.log(budget.describe(config, learned) + remark)
                trainer.train(run, make_batches, context, check_others=check_records)


def _check_control() -> None:
    if _CONTROL.value and _PSEUDO_LABELED.value is None:
        raise ValueError("--control needs --pseudo_labeled, whose size sets the steps")
    if _COMPUTE_OF.value and not _CONTROL.value:
        raise ValueError("--compute_of needs --control")
    if _ROUNDS.present and not _COMPUTE_OF.value:
        raise ValueError("--rounds needs --compute_of")


def _fit(
    recipe: StudentConfig,
    sizes: budget.Sizes,
    num_classes: int,
    *,
    is_pretrained: bool,
) -> tuple[StudentConfig, str]:
    """Returns the recipe for the images, with --compute_of as long as the chain.

    Also returns what to say about a chain that was not counted completely.
    """
    fixed = paths_of(_RUN.set.value)
    fit = functools.partial(
        budget.fit_budget,
        recipe,
        num_classes=num_classes,
        is_pretrained=is_pretrained,
        fixed=fixed,
    )
    config = fit(sizes)
    if not _COMPUTE_OF.value:
        return config, ""
    from classifier.training import network_cost
    from classifier.training.budget import with_num_steps
    from student.training import control

    spent = control.read_spent(_COMPUTE_OF.value)
    largest = control.largest_sizes(
        sizes, _PSEUDO_LABELED.value, num_classes=num_classes
    )
    steps = control.find_steps(
        spent,
        [config] + [fit(largest)] * (_ROUNDS.value - 1),
        of_image=network_cost.count_multiply_adds(config, num_classes=num_classes),
    )
    remark = f"; the features of {spent.uncounted} are not counted"
    # The number of steps that a user gives is each student's.
    config = with_num_steps(config, steps, fixed=fixed - {"num_steps"})
    return config, remark if spent.uncounted else ""


if __name__ == "__main__":
    cli.run(main, FLAGS)
