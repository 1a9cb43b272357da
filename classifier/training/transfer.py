"""The recipe of a training from published weights, by the number of images.

Learning rate, steps, warm-up and regularization are those of BiT-HyperRule, which
replaces a search on each of twenty data sets (Kolesnikov et al. 2020, "Big Transfer",
section 3.3; the warm-up is that of its code). Batch-norm keeps its statistics, which
few images cannot estimate anew, and a new head is fitted before the rest is trained
(Kumar et al. 2022). `docs/pretrained.md` has what was measured. Settings made by the
user are never changed.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from classifier.training.budget import with_num_steps
from classifier.training.config import ConfigT, replace_paths

#: Numbers of images up to which a schedule is used, its steps and those of its warm-up.
SCHEDULES = ((20_000, 500, 100), (500_000, 10_000, 500), (math.inf, 20_000, 500))
#: Largest number of images of a batch, and its peak learning rate, which is less in
#: proportion for smaller ones.
BATCH_SIZE, LEARNING_RATE = 512, 0.003


def fit_transfer(
    config: ConfigT, num_images: int, *, fixed: Collection[str]
) -> ConfigT:
    """Returns the recipe with length, learning rate and regularization for the images.

    Network, resolution and the noise on images are the preset's, and so is a batch
    of up to 512 images.

    Args:
        config: The recipe, with the user's settings.
        num_images: Number of images to learn from, pseudo-labeled ones included.
        fixed: Paths of the settings made by the user, such as `num_steps`.
    """
    steps, warmup = next(row[1:] for row in SCHEDULES if num_images < row[0])
    batch_size = {"global_batch_size": min(BATCH_SIZE, config.global_batch_size)}
    config = replace_paths(config, batch_size, fixed=fixed)
    config = with_num_steps(config, steps, fixed=fixed)
    rate = LEARNING_RATE * config.global_batch_size / BATCH_SIZE
    values = {
        "optimizer.peak_learning_rate": rate,
        "optimizer.warmup_steps": min(warmup, config.num_steps // 5),
        "optimizer.weight_decay": 0.0,
        "model.dropout_rate": 0.0,
        "model.stochastic_depth_rate": 0.0,
        "label_smoothing": 0.0,
        "frozen_batch_norm": True,
        "fitted_head": True,
        # At least four before the end, from which a killed training goes on.
        "checkpoint_every": min(config.checkpoint_every, max(1, config.num_steps // 5)),
    }
    return replace_paths(config, values, fixed=fixed)
