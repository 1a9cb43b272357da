"""The recipe of a training from published weights, by the number of images.

Steps, warm-up, learning rate and regularization are those of BiT-HyperRule, which was
made on twenty data sets to replace a search (Kolesnikov et al. 2020, "Big Transfer",
section 3.3; the warm-up is in their code). Batch-norm keeps its statistics, and a new
head is fitted before anything else is trained (Kumar et al. 2022, "LP-FT").
`docs/pretrained.md` says what was measured. Settings made by the user are never
changed.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from classifier.training.config import ConfigT, replace_paths

#: Numbers of images below which a schedule applies, its steps, and those of its warm-up.
SCHEDULES = ((20_000, 500, 100), (500_000, 10_000, 500), (math.inf, 20_000, 500))
#: Images of a batch, and the peak learning rate for them, to which it is proportional.
BATCH_SIZE, RATE = 512, 0.003


def fit_transfer(
    config: ConfigT, num_images: int, *, fixed: Collection[str]
) -> ConfigT:
    """Returns the recipe with length, learning rate and regularization for the images.

    The preset's network, resolution and, for a student, noise on images stay.

    Args:
        config: The recipe, with the user's settings.
        num_images: Number of images to learn from, pseudo-labeled ones included.
        fixed: Paths of the settings made by the user, such as `num_steps`.
    """
    _, steps, warmup = next(row for row in SCHEDULES if num_images < row[0])
    batch_size = config.global_batch_size
    values = {
        "num_steps": steps,
        "optimizer.warmup_steps": warmup,
        "evaluate_every": max(1, steps // 5),
        "checkpoint_every": max(1, steps // 5),
        "optimizer.peak_learning_rate": RATE * batch_size / BATCH_SIZE,
        "optimizer.weight_decay": 0.0,
        "model.dropout_rate": 0.0,
        "model.stochastic_depth_rate": 0.0,
        "label_smoothing": 0.0,
        "frozen_batch_norm": True,
    }
    return replace_paths(config, values, fixed=fixed)
