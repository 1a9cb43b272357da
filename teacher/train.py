r"""Trains a ResNet-RS teacher on labeled images and exports it.

  python -m teacher.train --preset=tiny --labeled=folder:photos/train \
      --evaluation=folder:photos/test --workdir=runs/photos/teacher \
      --set=num_steps=2000 --set=optimizer.peak_learning_rate=0.05

With --unlabeled=SOURCE it trains as long as its student will, and it also learns from
these images without labels, except for those of --exclude, see `docs/teachers.md`; the
settings are in the group `consistency` of the recipe.
Started again, the same command continues from its last checkpoint.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from classifier.training import budget, devices, presets, tracking, transfer
from classifier.training.config import (
    TrainConfig,
    override_recipe,
    refuse_consistency,
)
from classifier.training.devices import RunContext
from stage import cli, licenses
from stage.flags import SOURCES, CommandFlags
from stage.overrides import paths_of

if TYPE_CHECKING:  # Both import TensorFlow.
    from classifier.data.counting import ImageCount
    from classifier.data.sampling import UnlabeledSample
    from classifier.data.sources import Source
    from classifier.training.trainer import Sources, TrainingRun

FLAGS = CommandFlags()
_DATA = FLAGS.training_data()
_RUN = FLAGS.training(
    presets.PRESETS, devices.BACKENDS, example="optimizer.peak_learning_rate=0.1"
)
_UNLABELED = FLAGS.string(
    "unlabeled", None, f"Images without labels to learn from as well: {SOURCES}."
)
_UNLABELED_IMAGE_FEATURE = FLAGS.string(
    "unlabeled_image_feature",
    None,
    "Name of the image feature of --unlabeled, if not the usual.",
)
_EXCLUDE = FLAGS.strings(
    "exclude",
    [],
    "Images to leave out of --unlabeled, such as those to evaluate on; only exact "
    f"copies (the same bytes) are found: {SOURCES}, read like --labeled.",
)
_CONSISTENCY = FLAGS.choice(
    "consistency",
    "on",
    ("on", "off", "auto"),
    "Whether to learn from --unlabeled, or only to train as long as a student of it "
    f"does; auto: on with up to {budget.MAX_CONSISTENCY_LABELS} labels per class.",
)
_AUTO = "(--consistency=auto; on learns from unlabeled images nevertheless)"
_NO_EXCLUDE = (
    "warning: images to evaluate on may be among the unlabeled ones; give --exclude, "
    "sources of them, to keep them out"
)
_LICENSES = FLAGS.licenses(
    labeled=_DATA.labeled, unlabeled=_UNLABELED, init_from=_RUN.init_from
)
_FOLDS = FLAGS.integer(
    "folds", 0, "Parts to divide the labeled images into; 0 to train on all of them."
)
_FOLD = FLAGS.integer("fold", None, "With --folds: the part to leave out, from 0 on.")


def main(argv: Sequence[str]) -> None:
    """Trains one teacher."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        recipe = override_recipe(
            dataclasses.replace(presets.find(_RUN.preset.value), seed=_RUN.seed.value),
            _RUN.set.value,
        )
        presets.check_initial(_RUN.preset.value, _RUN.init_from.value)
        _check_unlabeled()
        stated = licenses.parse(**_LICENSES.arguments())
        log_to = tracking.parse(_RUN.log_to.value)
        hardware = devices.load_backend(_RUN.backend.value, _RUN.distributed.value)
        hardware.input_shards(recipe.input_shards)  # Before any image is read.
        from classifier.data import folds
        from classifier.probing import head_first
        from classifier.training import initial_weights, trainer, unlabeled

        fold = folds.find_fold(_FOLDS.value, _FOLD.value)
        recipe, initial = initial_weights.open_for(
            recipe, _RUN.init_from.value, fixed=paths_of(_RUN.set.value)
        )
        sources = trainer.inspect(trainer.open_sources(**_DATA.arguments()))
        is_pretrained = initial is not None and initial.is_pretrained
        reason = _why_labels_alone(sources, is_pretrained=is_pretrained)
        sample = None if reason else _draw_sample(recipe)
        num_unlabeled = _count_unlabeled(sample, is_pretrained=is_pretrained)
        config = _fit(
            recipe,
            sources,
            num_unlabeled.number,
            is_pretrained=is_pretrained,
            consistency=sample is not None,
        )
        hardware.check(config)
        if sample is not None:
            unlabeled.check(config, hardware)
        run = trainer.open_run(
            config,
            sources,
            initial=initial,
            new_head=_RUN.new_head.value,
            stated=stated,
        )
        if fold is not None:
            run = trainer.leave_out(run, fold)
        head_first.fit_new_head(run)
        if sample is not None:
            run = unlabeled.add_sample(run, sample, stated.get("unlabeled"))
        with devices.started_run(
            run.describe(),
            hardware,
            _RUN.workdir.value,
            ledger=run.ledger,
            profile=_RUN.profile.value,
            log_to=log_to,
        ) as context:
            if context is not None:
                if sample is not None:
                    context.log(unlabeled.describe(sample, config))
                    if not _EXCLUDE.value:
                        context.log(_NO_EXCLUDE)
                elif reason:
                    context.log(_describe_unused(reason, num_unlabeled))
                _train(run, sample, context)


def _check_unlabeled() -> None:
    is_given = _UNLABELED.value is not None
    for flag in (_CONSISTENCY, _EXCLUDE, _UNLABELED_IMAGE_FEATURE):
        if flag.present and not is_given:
            raise ValueError(f"--{flag.name} needs --unlabeled")
    if not is_given:
        refuse_consistency(_RUN.set.value, "there is no --unlabeled")
    elif _CONSISTENCY.value == "off":
        refuse_consistency(_RUN.set.value, "--consistency=off")


def _open_corpus() -> Source:
    return _open(_UNLABELED.value, _UNLABELED_IMAGE_FEATURE.value)


def _open_excluded() -> list[Source]:
    return [_open(spec, _DATA.image_feature.value) for spec in _EXCLUDE.value]


def _open(spec: str, image_feature: str | None) -> Source:
    from classifier.data.sources import open_source

    data_dir = _DATA.data_dir.value
    return open_source(spec, data_dir=data_dir, image_feature=image_feature)


def _why_labels_alone(sources: Sources, *, is_pretrained: bool) -> str | None:
    """Returns why nothing is learned from --unlabeled; None if it is, or not given."""
    reason = None
    if _UNLABELED.value is None:
        return reason
    if _CONSISTENCY.value == "off":
        reason = "--consistency=off"
    elif _CONSISTENCY.value == "auto" and is_pretrained:
        reason = f"the weights of {_RUN.init_from.value} are pretrained {_AUTO}"
    elif _CONSISTENCY.value == "auto" and not _has_few_labels(sources):
        reason = (
            f"{sources.labeled.num_examples:,} labels of {len(sources.class_names):,} "
            f"classes are more than {budget.MAX_CONSISTENCY_LABELS} per class {_AUTO}"
        )
    if reason:
        refuse_consistency(_RUN.set.value, reason)
    return reason


def _has_few_labels(sources: Sources) -> bool:
    num_classes = len(sources.class_names)
    return budget.has_few_labels(sources.labeled.num_examples, num_classes)


def _draw_sample(recipe: TrainConfig) -> UnlabeledSample | None:
    """Returns the images to learn from without labels, if there are any."""
    from classifier.data import sampling
    from classifier.training import unlabeled

    if _UNLABELED.value is None:
        return None
    corpus, excluded = _open_corpus(), _open_excluded()
    return unlabeled.draw(corpus, recipe, sampling.read_excluded(excluded))


def _count_unlabeled(
    sample: UnlabeledSample | None, *, is_pretrained: bool
) -> ImageCount:
    """Returns the number of images that sets the length of training, 0 if none does."""
    from classifier.data import counting
    from classifier.data.counting import ImageCount

    if sample is not None:
        return ImageCount(sample.num_images)
    if _UNLABELED.value is None:
        return ImageCount(0)
    # Opened though not needed: a name that is wrong is refused.
    corpus, _ = _open_corpus(), _open_excluded()
    is_fixed = "num_steps" in paths_of(_RUN.set.value)
    if is_fixed or is_pretrained or presets.epochs(_RUN.preset.value) is None:
        return ImageCount(0)
    return counting.count(corpus, budget.MAX_COUNTED)


def _describe_unused(reason: str, num_unlabeled: ImageCount) -> str:
    line = f"only labeled images are learned from: {reason}"
    if not (num_unlabeled.number or num_unlabeled.is_estimate):
        return line
    return f"{num_unlabeled} unlabeled images set the number of steps; {line}"


def _fit(
    recipe: TrainConfig,
    sources: Sources,
    num_unlabeled: int,
    *,
    is_pretrained: bool,
    consistency: bool,
) -> TrainConfig:
    fixed, epochs = paths_of(_RUN.set.value), presets.epochs(_RUN.preset.value)
    num_labeled = sources.labeled.num_examples
    if is_pretrained and epochs is not None:
        config = transfer.fit_transfer(recipe, num_labeled, fixed=fixed)
    else:
        config = budget.fit_budget(
            recipe, num_labeled, num_unlabeled, epochs=epochs, fixed=fixed
        )
    return budget.fit_consistency(config, fixed=fixed) if consistency else config


def _train(
    run: TrainingRun, sample: UnlabeledSample | None, context: RunContext
) -> None:
    from classifier.training import trainer, unlabeled

    def check_again() -> None:
        if sample is not None:
            unlabeled.check_again(sample, _open_corpus(), run.config)

    batches = unlabeled.plan_batches(run)
    trainer.train(run, batches, context, check_others=check_again)


if __name__ == "__main__":
    cli.run(main, FLAGS)
