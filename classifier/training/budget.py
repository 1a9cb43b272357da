"""Number of steps, batch size and noise, from the number of images.

A recipe states its length for the images that it was published with. For another
number of images the epochs stay the same, but with a minimum number of steps, and with
more if there are many images without labels. Consistency training has fewer, larger
steps. Settings made by the user are never changed. `docs/students.md` gives the rules
and their reasons.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from classifier.training.config import (
    ConfigT,
    ConsistencyConfig,
    TrainConfig,
    replace_paths,
)

#: Epochs over the labeled images of every published ResNet-RS (Bello et al. 2021).
EPOCHS = 350
#: Minimum number of training steps: the learning rate needs time to warm up and decay,
#: the moving average to follow the weights.
MIN_STEPS = 800
#: Minimum number of images of a batch, as in `tiny`.
MIN_BATCH_SIZE = 32

#: Number of images of the demo, and images seen in a training on all of them, with
#: repetitions: 50 labeled digits and 1,140 records of pseudo-labeled ones, 2,800 steps
#: of 32.
DEMO = (1_190, 2_800 * 32)
#: The same of ImageNet with the 130M images of Noisy Student: 350 epochs of the labeled
#: images, a quarter of each of 436,800 batches of 4096.
PUBLISHED = (1_281_167 + 130_000_000, 436_800 * 4096)
#: Exponent of the power law through both points.
EXPONENT = math.log(PUBLISHED[1] / DEMO[1]) / math.log(PUBLISHED[0] / DEMO[0])

#: Largest number of unlabeled images that set the length of a training on labeled ones
#: alone: the default of `consistency.max_images`.
MAX_COUNTED = ConsistencyConfig().max_images

#: Highest mean number of labels of a class with which consistency training is better
#: than training on the labeled images alone.
MAX_CONSISTENCY_LABELS = 12
#: Unlabeled images for each labeled one of a batch, with `fit_consistency`.
CONSISTENCY_RATIO = 3
#: Size of a batch, and the peak learning rate, as multiples of the recipe's.
CONSISTENCY_BATCH, CONSISTENCY_RATE = 2, 0.3


def fit_budget(
    config: TrainConfig,
    num_labeled: int,
    num_unlabeled: int = 0,
    *,
    epochs: float | None,
    fixed: Collection[str],
) -> TrainConfig:
    """Returns the recipe with batch size and length for the images.

    Args:
        config: The recipe, with the user's settings.
        num_labeled: Number of labeled images.
        num_unlabeled: Number of images without labels, which lengthen a training even
            if it does not learn from them.
        epochs: Epochs over the labeled images; None for a fixed number of steps.
        fixed: Paths of the settings made by the user, such as `num_steps`.
    """
    if epochs is None or "num_steps" in fixed:
        return config
    return fit_length(config, num_labeled, num_unlabeled, epochs=epochs, fixed=fixed)


def fit_length(
    config: ConfigT,
    num_labeled: int,
    num_unlabeled: int,
    *,
    epochs: float = EPOCHS,
    fixed: Collection[str],
) -> ConfigT:
    """Returns the recipe with the batch size and the steps for so many images.

    A teacher trains as long as its student: this costs little beside labeling, and the
    student repeats its mistakes.
    """
    seen = images_to_see(num_labeled + num_unlabeled) if num_unlabeled else 0
    supervised = round(epochs * num_labeled)
    config = scale_batch_size(config, max(seen, supervised), fixed=fixed)
    batch_size = config.global_batch_size
    steps = supervised_steps(num_labeled, batch_size, epochs=epochs)
    return with_num_steps(config, max(steps, round(seen / batch_size)), fixed=fixed)


def images_to_see(num_images: int) -> int:
    """Returns the number of images seen in training, repetitions included."""
    images, seen = DEMO
    return round(seen * (num_images / images) ** EXPONENT)


def has_few_labels(num_labeled: int, num_classes: int) -> bool:
    """Whether labels are so few that a teacher should learn from other images too."""
    return num_labeled <= MAX_CONSISTENCY_LABELS * num_classes


def fit_consistency(config: TrainConfig, *, fixed: Collection[str]) -> TrainConfig:
    """Returns the recipe changed for consistency training that computes as much.

    Dropout is off, since it would disturb the predictions on the views; other rates of
    stochastic depth were not tried. Smoothed labels would keep the confidences below
    the threshold.

    A step computes 2.5 times as much as the recipe's, so there are 0.4 times as many,
    which may be as few as 0.4 times `MIN_STEPS`. Settings made by the user, whose paths
    are `fixed`, stay, and the others change all the same: with a fixed number of steps
    the training computes more than the recipe.
    """
    from classifier.models.flops import training_multiply_adds  # It loads TensorFlow.

    before = training_multiply_adds(
        1, num_steps=config.num_steps, with_gradient=config.global_batch_size
    )
    values = {
        "label_smoothing": 0.0,
        "model.dropout_rate": 0.0,
        "consistency.unlabeled_ratio": CONSISTENCY_RATIO,
        "global_batch_size": CONSISTENCY_BATCH * config.global_batch_size,
        "optimizer.peak_learning_rate": (
            CONSISTENCY_RATE * config.optimizer.peak_learning_rate
        ),
    }
    config = replace_paths(config, values, fixed=fixed)
    size = config.global_batch_size
    of_step = training_multiply_adds(
        1,
        num_steps=1,
        with_gradient=size,
        without_gradient=config.consistency.unlabeled_of(size),
    )
    return with_num_steps(config, max(1, round(before / of_step)), fixed=fixed)


def describe_times(times: float) -> str:
    """Returns how often images are seen, with three digits."""
    return f"{float(f'{times:.3g}'):,g} times"


def supervised_steps(
    num_labeled: int, batch_size: int, *, epochs: float = EPOCHS
) -> int:
    """Returns the steps of that many epochs, at least `MIN_STEPS`.

    An epoch is of whole batches, as in the published recipes: 312 of 4096 images for
    ImageNet.
    """
    steps_per_epoch = num_labeled // batch_size or num_labeled / batch_size
    return max(MIN_STEPS, round(epochs * steps_per_epoch))


def scale_batch_size(
    config: ConfigT, num_seen: int, *, fixed: Collection[str] = ()
) -> ConfigT:
    """Returns the recipe with the batch halved until there are `MIN_STEPS` of them.

    The learning rate is halved with it (Goyal et al. 2017). The batch keeps at least
    `MIN_BATCH_SIZE` images. `num_seen` is the number of images of the whole run,
    repetitions included; `fixed` are the paths of the settings made by the user.
    """
    if "global_batch_size" in fixed or "num_steps" in fixed:
        return config
    size, rate = config.global_batch_size, config.optimizer.peak_learning_rate
    while size % 2 == 0 and size // 2 >= MIN_BATCH_SIZE and num_seen < size * MIN_STEPS:
        size, rate = size // 2, rate / 2
    values = {"global_batch_size": size, "optimizer.peak_learning_rate": rate}
    return replace_paths(config, values, fixed=fixed)


def with_num_steps(
    config: ConfigT, steps: int, *, fixed: Collection[str] = ()
) -> ConfigT:
    """Returns the recipe with `steps` steps; warm-up and evaluations scale with them.

    `fixed` are the paths of the settings made by the user.
    """
    if "num_steps" in fixed:
        return config
    factor = steps / config.num_steps
    values = {
        "num_steps": steps,
        "evaluate_every": max(1, round(config.evaluate_every * factor)),
        "optimizer.warmup_steps": round(config.optimizer.warmup_steps * factor),
    }
    return replace_paths(config, values, fixed=fixed)
