"""A student's recipe from the number of labeled and pseudo-labeled images.

`docs/students.md` gives the rule and its reasons. Settings made by the user are never
changed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from classifier.training import budget, transfer
from classifier.training.config import replace_paths
from student.training.config import StudentConfig

#: Pseudo-labeled images per labeled image of a batch: the value in Noisy Student's
#: published scripts for EfficientNet-B1 to B7.
RATIO = 3.0
#: Maximum epochs over the labeled images, twice those of supervised training. To stay
#: below, the ratio grows up to that of Noisy Student's largest student.
MAX_EPOCHS = 2 * budget.EPOCHS
MAX_RATIO = 28.0

#: Highest mean number of labels of a class with which targets are hard. They were
#: better with 5 to 30 labels; the published training has 1,281 and soft ones.
MAX_HARD_LABELS = 200
#: Epochs over the pseudo-labeled images from which on the network's noise has its full
#: rates, those of the published training on 130M images. With fewer there is less to
#: overfit (Bello et al. 2021, discussion: training on 300M images leaves out most
#: regularization).
NOISE_EPOCHS = 10.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """Numbers of images to learn from; copies of pseudo-labeled ones are counted."""

    labeled: int
    pseudo_labeled: int

    @property
    def total(self) -> int:
        """Number of all images."""
        return self.labeled + self.pseudo_labeled


def fit_budget(
    config: StudentConfig,
    sizes: Sizes,
    *,
    num_classes: int,
    is_pretrained: bool = False,
    fixed: Collection[str] = (),
) -> StudentConfig:
    """Returns the recipe with batch size, length, mixture and noise for `sizes`.

    Args:
        config: The recipe, with the user's settings.
        sizes: Numbers of images.
        num_classes: K.
        is_pretrained: Whether training starts from published weights.
        fixed: Paths of the settings made by the user, such as `num_steps`.
    """
    if is_pretrained:
        config = transfer.fit_transfer(config, sizes.total, fixed=fixed)
    else:
        config = budget.fit_length(
            config, sizes.labeled, sizes.pseudo_labeled, fixed=fixed
        )
    if sizes.pseudo_labeled:
        fraction = {"mixture.labeled_fraction": _labeled_fraction(config, sizes)}
        config = replace_paths(config, fraction, fixed=fixed)
        config = replace_paths(config, _noise_rates(config, sizes), fixed=fixed)
        few = sizes.labeled <= MAX_HARD_LABELS * num_classes
        if few and "mixture.temperature" not in fixed:  # Hard targets would ignore it.
            hard = {"mixture.target_kind": "hard"}
            config = replace_paths(config, hard, fixed=fixed)
    return config


def epochs(config: StudentConfig, sizes: Sizes) -> tuple[float, float]:
    """Returns the epochs over the labeled and over the pseudo-labeled images."""
    if not sizes.pseudo_labeled:
        return config.num_steps * config.global_batch_size / sizes.labeled, 0.0
    return (
        config.num_steps * config.labeled_batch_size / sizes.labeled,
        config.num_steps * config.pseudo_labeled_batch_size / sizes.pseudo_labeled,
    )


def describe(config: StudentConfig, sizes: Sizes) -> str:
    """Returns sizes, epochs and mixture in one line."""
    labeled, pseudo_labeled = epochs(config, sizes)
    line = f"{sizes.labeled:,} labeled images seen {budget.describe_times(labeled)}"
    if not sizes.pseudo_labeled:
        return line
    return (
        f"{line}, {sizes.pseudo_labeled:,} pseudo-labeled ones "
        f"{budget.describe_times(pseudo_labeled)}, {config.labeled_batch_size} and "
        f"{config.pseudo_labeled_batch_size} of each batch"
    )


def _labeled_fraction(config: StudentConfig, sizes: Sizes) -> float:
    all_labeled = config.num_steps * config.global_batch_size / sizes.labeled
    at_max_epochs = max(MAX_EPOCHS / all_labeled, 1.0 / (1.0 + MAX_RATIO))
    # Below it, pseudo-labeled images would be seen more often than labeled ones.
    proportional = sizes.labeled / sizes.total
    return max(proportional, min(1.0 / (1.0 + RATIO), at_max_epochs))


def _noise_rates(config: StudentConfig, sizes: Sizes) -> dict[str, float]:
    """Returns the network's noise, reduced in proportion to the epochs if few.

    The noise on images is not reduced: with RandAugment's magnitude some operations get
    stronger, but Posterize and Solarize weaker.
    """
    _, pseudo_labeled = epochs(config, sizes)
    factor = min(1.0, pseudo_labeled / NOISE_EPOCHS)
    return {
        "model.dropout_rate": factor * config.model.dropout_rate,
        "model.stochastic_depth_rate": factor * config.model.stochastic_depth_rate,
    }
