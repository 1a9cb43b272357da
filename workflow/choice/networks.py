"""Networks to choose from, and what one of their images costs.

Closed forms, so that no network has to be built.
"""

from __future__ import annotations

import dataclasses

from classifier.models import scaling
from classifier.summary import PUBLISHED
from classifier.training.presets import tiny

#: Sides in pixels at which `tiny` is offered.
TINY_SIZES = (32, 64, 96, 128)
#: Multiply-adds of `tiny` for each pixel of its input, at 64 px.
_TINY_PER_PIXEL = 2_354
#: Operations that `PUBLISHED` counts, in billions, as multiply-adds.
_BILLION_OPERATIONS = 1e9 / 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """A network and its recipe.

    Attributes:
        preset: Name of the recipe, for teachers and students.
        size: Side of the input in pixels.
        multiply_adds: Multiply-adds of the forward pass of one image, within 10 %.
    """

    preset: str
    size: int
    multiply_adds: float

    @property
    def flags(self) -> tuple[str, ...]:
        """Flags that give the preset this size."""
        is_own = self.preset != "tiny" or self.size == tiny().image.size
        return () if is_own else (f"--set=image.size={self.size}",)

    def __str__(self) -> str:
        return f"{self.preset} at {self.size} px"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Backbone:
    """Pretrained features at hand.

    Attributes:
        spec: Source of features, as `teacher.probe --features` takes it.
        multiply_adds: Multiply-adds for one image; None if they are not known.
    """

    spec: str
    multiply_adds: float | None = None


def offered() -> tuple[Network, ...]:
    """Returns all networks, the cheapest first."""
    small = (
        Network(preset="tiny", size=size, multiply_adds=_TINY_PER_PIXEL * size**2)
        for size in TINY_SIZES
    )
    large = (
        Network(
            preset=f"resnet_rs_{depth}_{size}",
            size=size,
            multiply_adds=count_multiply_adds(depth, size),
        )
        for depth, size in scaling.PUBLISHED_SIZES
    )
    return (*small, *large)


def count_multiply_adds(depth: int, size: int) -> float:
    """Returns the multiply-adds of a published ResNet-RS for one image."""
    return PUBLISHED[depth, size][1] * _BILLION_OPERATIONS
