"""What a run may cost, and how it is divided: multiply-adds as integers.

An image that passes forward and backward counts three times, one that is labeled once,
see `classifier.models.flops`. Evaluations are not counted.
"""

from __future__ import annotations

import dataclasses

from classifier.models.flops import training_multiply_adds

#: Forward passes of the demo, a backward pass counting twice: a teacher of 1,126 steps
#: with 64 images and 48 views, a student of 2,800 with 32 images, and the labeling of
#: 1,847 images (1,147 unlabeled, 50 labeled and 650 excluded): 540,887, rounded up. A
#: budget of 1 is that many passes of the benchmark's network.
DEMO_PASSES = 542_000


@dataclasses.dataclass(frozen=True)
class Batch:
    """Numbers of images in a step's batch.

    Attributes:
        labeled: Images with a label, true or pseudo.
        unlabeled: Images whose targets are predicted in the step, each on a second
            view of it, which passes forward only.
    """

    labeled: int
    unlabeled: int = 0

    def __post_init__(self) -> None:
        if self.labeled < 1 or self.unlabeled % self.labeled:
            raise ValueError(
                "expected labeled images, and unlabeled ones that are a multiple of "
                f"them, got {self.labeled} and {self.unlabeled}"
            )

    @property
    def size(self) -> int:
        """Number of images that pass forward and backward."""
        return self.labeled + self.unlabeled


def budget_of(share: float, network: int) -> int:
    """Returns the multiply-adds of a share of the demo, given those of its network."""
    return round(share * DEMO_PASSES * network)


def steps_of(budget: float, batch: Batch, network: int) -> int:
    """Returns how many steps the budget pays for.

    Raises:
        ValueError: If it does not pay for one.
    """
    of_step = training_multiply_adds(
        network,
        num_steps=1,
        with_gradient=batch.size,
        without_gradient=batch.unlabeled,
    )
    steps = int(budget / of_step)
    if steps < 1:
        raise ValueError(
            f"--budgets: expected enough for labeling and a step of {of_step:.3g} "
            f"multiply-adds, got {budget:.3g} for the steps"
        )
    return steps
