"""A last phase at a higher resolution, on labeled images without noise.

Training crops make objects look larger than they are when the whole image is looked
at; a few more steps at a higher resolution bring the two together (Touvron et al.
2019), as Noisy Student does it: 1.5 passes over the labeled images, not augmented, with
the shallow layers frozen.
"""

from __future__ import annotations

import dataclasses

from classifier.training import budget
from classifier.training.config import TrainConfig

#: Growth of the side, then rounded. The published sizes are multiples of 32, but what
#: is left of the last strides changes nothing, and would double a side of 32.
GROWTH = 1.25
SIZE_STEP = 8
#: Passes over the labeled images (Xie et al. 2020).
PASSES = 1.5
#: Steps below which the moving average would still hold much of what it began with.
MIN_STEPS = 100
#: Of the learning rate that the student was trained with. Ours: the works that this
#: comes from train with another optimizer.
RATE = 0.1
#: Stages of four that stay as they are, and the stem: the last one and the head learn.
FROZEN_STAGES = 3


def larger(image_size: int) -> int:
    """Returns the side in pixels to go on with after one of `image_size`."""
    return round(GROWTH * image_size / SIZE_STEP) * SIZE_STEP


def recipe(
    trained: TrainConfig, *, num_labeled: int, image_size: int | None = None
) -> TrainConfig:
    """Returns the recipe of the last phase.

    Args:
        trained: What the student was trained with.
        num_labeled: Images to learn from.
        image_size: Side in pixels; `larger` than before if not given.
    """
    steps = max(MIN_STEPS, round(PASSES * num_labeled / trained.global_batch_size))
    config = budget.with_num_steps(trained, steps)
    return dataclasses.replace(
        config,
        model=dataclasses.replace(
            config.model, dropout_rate=0.0, stochastic_depth_rate=0.0
        ),
        image=dataclasses.replace(
            config.image,
            size=image_size or larger(config.image.size),
            min_crop_area=1.0,
            random_flip=False,
        ),
        augment=dataclasses.replace(config.augment, num_ops=0),
        optimizer=dataclasses.replace(
            config.optimizer,
            peak_learning_rate=RATE * config.optimizer.peak_learning_rate,
            warmup_steps=0,
        ),
        frozen_stages=FROZEN_STAGES,
    )
