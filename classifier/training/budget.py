"""How long to train, and in which batches, from how many labeled images there are.

A recipe states its length for the images it was published with. For others as many
passes over them are made, but never so few steps that nothing is learned. What the
user has set stays as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, TypeVar

from classifier.training.config import OptimizerConfig, TrainConfig

if TYPE_CHECKING:  # It imports TensorFlow.
    from classifier.data.sources import Source

ConfigT = TypeVar("ConfigT", bound=TrainConfig)

#: Passes over the labeled images of every published ResNet-RS (Bello et al. 2021).
EPOCHS = 350
#: Steps below which a network does not get off the ground, whatever it sees: the
#: schedule needs room to warm up and to fall, the moving average to follow.
MIN_STEPS = 800
#: Images of a step where there are few: those of `tiny`.
MIN_BATCH_SIZE = 32


def fit_budget(
    config: TrainConfig,
    labeled: Source,
    *,
    epochs: float | None,
    fixed: Collection[str],
) -> TrainConfig:
    """Returns a recipe in the batches and of the length that some images need.

    Args:
        config: The recipe, with the user's settings.
        labeled: Images to learn from; counted if need be.
        epochs: Passes over them; None for a recipe whose length is its own.
        fixed: Paths of the settings that the user has made, as in `num_steps`.
    """
    if epochs is None or "num_steps" in fixed:
        return config
    num_labeled = labeled.num_examples
    config = scale_batch_size(config, round(epochs * num_labeled), fixed=fixed)
    steps = supervised_steps(num_labeled, config.global_batch_size, epochs=epochs)
    return with_num_steps(config, steps, fixed=fixed)


def supervised_steps(
    num_labeled: int, batch_size: int, *, epochs: float = EPOCHS
) -> int:
    """Returns the steps of so many passes over labeled images, at least 800.

    A pass is of whole batches, as in the published schedules: 312 of 4096 for
    ImageNet.
    """
    steps_of_a_pass = num_labeled // batch_size or num_labeled / batch_size
    return max(MIN_STEPS, round(epochs * steps_of_a_pass))


def scale_batch_size(
    config: ConfigT, num_images: int, *, fixed: Collection[str] = ()
) -> ConfigT:
    """Returns the recipe with batches small enough for 800 steps to be made of them.

    The batch is halved, and with it the learning rate (Goyal et al. 2017), but not to
    fewer than 32 images.

    Args:
        config: The recipe.
        num_images: That will be seen, each time counted.
        fixed: Paths of the settings that the user has made.
    """
    if "global_batch_size" in fixed or "num_steps" in fixed:
        return config
    size, rate = config.global_batch_size, config.optimizer.peak_learning_rate
    while (
        size % 2 == 0 and size // 2 >= MIN_BATCH_SIZE and num_images < size * MIN_STEPS
    ):
        size, rate = size // 2, rate / 2
    optimizer = config.optimizer
    if "optimizer.peak_learning_rate" not in fixed:
        optimizer = dataclasses.replace(optimizer, peak_learning_rate=rate)
    return dataclasses.replace(config, global_batch_size=size, optimizer=optimizer)


def with_num_steps(
    config: ConfigT, steps: int, *, fixed: Collection[str] = ()
) -> ConfigT:
    """Returns the recipe stretched: warm-up and evaluations stay the same shares of it.

    Args:
        config: The recipe.
        steps: How long it shall be.
        fixed: Paths of the settings that the user has made.
    """
    if "num_steps" in fixed:
        return config
    factor = steps / config.num_steps
    changes: dict[str, Any] = {"num_steps": steps}
    if "evaluate_every" not in fixed:
        changes["evaluate_every"] = max(1, round(config.evaluate_every * factor))
    if "optimizer.warmup_steps" not in fixed:
        changes["optimizer"] = _warmed_up(config.optimizer, factor)
    return dataclasses.replace(config, **changes)


def _warmed_up(optimizer: OptimizerConfig, factor: float) -> OptimizerConfig:
    steps = round(optimizer.warmup_steps * factor)
    return dataclasses.replace(optimizer, warmup_steps=steps)
