"""A student's recipe from the number of labeled and pseudo-labeled images.

`docs/students.md` gives the rule and its reasons. Settings made by the user are never
changed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection

from classifier.training import budget
from classifier.training.config import replace_paths
from student.training.config import StudentConfig

#: Pseudo-labeled images per labeled image of a batch: the value in Noisy Student's
#: published scripts for EfficientNet-B1 to B7.
RATIO = 3.0
#: Maximum epochs over the labeled images, twice those of supervised training. To stay
#: below, the ratio grows up to that of Noisy Student's largest student.
MAX_EPOCHS = 2 * budget.EPOCHS
MAX_RATIO = 28.0

#: Number of images of the demo, and images seen in its training, with repetitions: 50
#: labeled and 1,140 pseudo-labeled digits, 1,600 steps of 32.
DEMO = (1_190, 1_600 * 32)
#: The same of ImageNet with the 130M images of Noisy Student: 350 epochs of the labeled
#: images, a quarter of each of 436,800 batches of 4096.
PUBLISHED = (1_281_167 + 130_000_000, 436_800 * 4096)
#: Exponent of the power law through both points.
EXPONENT = math.log(PUBLISHED[1] / DEMO[1]) / math.log(PUBLISHED[0] / DEMO[0])

#: Ratio of a student's width to its teacher's, if the teacher is narrower than a full
#: network and there are at least as many pseudo-labeled images as labeled ones. A
#: student larger than a full network is another, deeper preset.
WIDTH_RATIO = 1.5
FULL_WIDTH = 1.0
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
    config: StudentConfig, sizes: Sizes, *, fixed: Collection[str] = ()
) -> StudentConfig:
    """Returns the recipe with batch size, length, width, mixture and noise for `sizes`.

    `fixed` are paths of the settings made by the user, such as `num_steps`.
    """
    seen = images_to_see(sizes.total)
    supervised = budget.EPOCHS * sizes.labeled
    config = budget.scale_batch_size(config, max(seen, supervised), fixed=fixed)
    batch_size = config.global_batch_size
    steps = max(
        budget.supervised_steps(sizes.labeled, batch_size), round(seen / batch_size)
    )
    config = budget.with_num_steps(config, steps, fixed=fixed)
    width = {"model.width_multiplier": _width(config, sizes)}
    config = replace_paths(config, width, fixed=fixed)
    if sizes.pseudo_labeled:
        fraction = {"mixture.labeled_fraction": _labeled_fraction(config, sizes)}
        config = replace_paths(config, fraction, fixed=fixed)
        config = replace_paths(config, _noise_rates(config, sizes), fixed=fixed)
    return config


def images_to_see(num_images: int) -> int:
    """Returns the number of images seen in training, repetitions included."""
    images, seen = DEMO
    return round(seen * (num_images / images) ** EXPONENT)


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
    line = f"{sizes.labeled:,} labeled images seen {labeled:,.3g} times"
    if not sizes.pseudo_labeled:
        return line
    return (
        f"{line}, {sizes.pseudo_labeled:,} pseudo-labeled ones {pseudo_labeled:,.3g} "
        f"times, {config.labeled_batch_size} and {config.pseudo_labeled_batch_size} of "
        "each batch"
    )


def _width(config: StudentConfig, sizes: Sizes) -> float:
    width = config.model.width_multiplier
    if sizes.pseudo_labeled < sizes.labeled or width >= FULL_WIDTH:
        return width
    return min(width * WIDTH_RATIO, FULL_WIDTH)


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
