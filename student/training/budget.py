"""What a student's recipe becomes for so many labeled and pseudo-labeled images.

The rule, and why, is in `docs/students.md`. What the user has set stays as it is.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection

from classifier.training import budget
from student.training.config import StudentConfig

#: Pseudo-labeled images to each labeled one of a batch: what Noisy Student's scripts
#: train EfficientNet-B1 to B7 with.
RATIO = 3.0
#: How often a labeled image is to be seen at the most: twice as often as in supervised
#: training. Beyond, the ratio grows, as far as Noisy Student's largest student's.
MAX_PASSES = 2 * budget.EPOCHS
MAX_RATIO = 28.0

#: Images, and how often students see one of them, each time counted. The demo: 50
#: labeled digits and 1,140 pseudo-labeled ones, 1,600 steps of 32.
SMALL = (1_190, 1_600 * 32)
#: ImageNet with the 130M of Noisy Student: 350 passes over what is labeled, a quarter
#: of each of 436,800 batches of 4096.
LARGE = (1_281_167 + 130_000_000, 436_800 * 4096)
#: Between the two, and beyond, a straight line on double logarithmic paper.
EXPONENT = math.log(LARGE[1] / SMALL[1]) / math.log(LARGE[0] / SMALL[0])

#: A student of a narrowed network is wider than its teacher, as Noisy Student's are
#: larger, where images are enough to fill it: as many pseudo-labeled ones as labeled,
#: at the least. Of a whole network, a larger student is a deeper preset.
WIDER = 1.5
FULL_WIDTH = 1.0
#: How often a pseudo-labeled image is seen where all of the network's noise is wanted:
#: ten times in the published training on 130M. What is seen less is not learned by
#: heart (Bello et al. 2021, discussion: trainings on 300M images leave most
#: regularization out).
NOISE_PASSES = 10.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """What there is to learn from.

    Attributes:
        labeled: Images with a label.
        pseudo_labeled: Records of pseudo-labels, copies counted; 0 for none.
    """

    labeled: int
    pseudo_labeled: int

    @property
    def total(self) -> int:
        """Both together."""
        return self.labeled + self.pseudo_labeled


def fit_budget(
    config: StudentConfig, sizes: Sizes, *, fixed: Collection[str] = ()
) -> StudentConfig:
    """Returns a recipe that fits what there is to learn from.

    Args:
        config: The recipe, with the user's settings.
        sizes: What there is to learn from.
        fixed: Paths of the settings that the user has made, as in `num_steps`.
    """
    seen = images_to_see(sizes.total)
    at_least = budget.EPOCHS * sizes.labeled
    config = budget.scale_batch_size(config, max(seen, at_least), fixed=fixed)
    batch_size = config.global_batch_size
    steps = max(
        budget.supervised_steps(sizes.labeled, batch_size), round(seen / batch_size)
    )
    config = budget.with_num_steps(config, steps, fixed=fixed)
    config = _widened(config, sizes, fixed)
    if sizes.pseudo_labeled:
        config = _mixed(config, sizes, fixed)
        config = _noised(config, sizes, fixed)
    return config


def images_to_see(num_images: int) -> int:
    """Returns how many images a student sees of so many, each time counted."""
    images, seen = SMALL
    return round(seen * (num_images / images) ** EXPONENT)


def passes(config: StudentConfig, sizes: Sizes) -> tuple[float, float]:
    """Returns how often a labeled and a pseudo-labeled image is seen."""
    if not sizes.pseudo_labeled:
        return config.num_steps * config.global_batch_size / sizes.labeled, 0.0
    return (
        config.num_steps * config.labeled_batch_size / sizes.labeled,
        config.num_steps * config.pseudo_labeled_batch_size / sizes.pseudo_labeled,
    )


def describe(config: StudentConfig, sizes: Sizes) -> str:
    """Returns what was made of the sizes, as one line."""
    labeled, pseudo_labeled = passes(config, sizes)
    line = f"{sizes.labeled:,} labeled images seen {labeled:,.3g} times"
    if sizes.pseudo_labeled:
        line += (
            f", {sizes.pseudo_labeled:,} pseudo-labeled ones {pseudo_labeled:,.3g} "
            f"times, {config.labeled_batch_size} and "
            f"{config.pseudo_labeled_batch_size} of each batch"
        )
    return line


def _widened(
    config: StudentConfig, sizes: Sizes, fixed: Collection[str]
) -> StudentConfig:
    width = config.model.width_multiplier
    is_fed = sizes.pseudo_labeled >= sizes.labeled
    if "model.width_multiplier" in fixed or not is_fed or width >= FULL_WIDTH:
        return config
    model = dataclasses.replace(
        config.model, width_multiplier=min(width * WIDER, FULL_WIDTH)
    )
    return dataclasses.replace(config, model=model)


def _mixed(
    config: StudentConfig, sizes: Sizes, fixed: Collection[str]
) -> StudentConfig:
    if "mixture.labeled_fraction" in fixed:
        return config
    seen = config.num_steps * config.global_batch_size / sizes.labeled
    least = max(MAX_PASSES / seen, 1.0 / (1.0 + MAX_RATIO))
    # With fewer, a pseudo-labeled image would be seen more often than a labeled one.
    evenly = sizes.labeled / sizes.total
    fraction = max(evenly, min(1.0 / (1.0 + RATIO), least))
    mixture = dataclasses.replace(config.mixture, labeled_fraction=fraction)
    return dataclasses.replace(config, mixture=mixture)


def _noised(
    config: StudentConfig, sizes: Sizes, fixed: Collection[str]
) -> StudentConfig:
    """Weakens the network's noise in proportion where images are seen few times.

    That on images stays: of RandAugment's operations some grow with its magnitude,
    but Posterize and Solarize shrink.
    """
    _, seen = passes(config, sizes)
    rates = {
        name: min(1.0, seen / NOISE_PASSES) * getattr(config.model, name)
        for name in ("dropout_rate", "stochastic_depth_rate")
        if f"model.{name}" not in fixed
    }
    return dataclasses.replace(config, model=dataclasses.replace(config.model, **rates))
