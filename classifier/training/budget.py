"""Number of steps and batch size, from the number of labeled images.

A recipe states its length for the images that it was published with. For another
number of images the epochs stay the same, but with a minimum number of steps. Settings
made by the user are never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from classifier.training.config import ConfigT, TrainConfig, replace_paths

#: Epochs over the labeled images of every published ResNet-RS (Bello et al. 2021).
EPOCHS = 350
#: Minimum number of training steps: the learning rate needs time to warm up and decay,
#: the moving average to follow the weights.
MIN_STEPS = 800
#: Minimum number of images of a batch, as in `tiny`.
MIN_BATCH_SIZE = 32


def fit_budget(
    config: TrainConfig,
    count_labeled: Callable[[], int],
    *,
    epochs: float | None,
    fixed: Collection[str],
) -> TrainConfig:
    """Returns the recipe with batch size and length for the labeled images.

    Args:
        config: The recipe, with the user's settings.
        count_labeled: Returns the number of labeled images. Called only if the result
            depends on it: counting may read all files.
        epochs: Epochs over the labeled images; None for a fixed number of steps.
        fixed: Paths of the settings made by the user, such as `num_steps`.
    """
    if epochs is None or "num_steps" in fixed:
        return config
    num_labeled = count_labeled()
    config = scale_batch_size(config, round(epochs * num_labeled), fixed=fixed)
    steps = supervised_steps(num_labeled, config.global_batch_size, epochs=epochs)
    return with_num_steps(config, steps, fixed=fixed)


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
