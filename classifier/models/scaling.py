"""The scaling rules of ResNet-RS (Bello et al. 2021).

1. Scale depth if training is long enough to overfit, width otherwise.
2. Scale the resolution slowly, up to 320 px.

The regularization grows with both, as in the eleven published models.
"""

from __future__ import annotations

import dataclasses
import math

from classifier.models import variants
from classifier.models.config import ModelConfig

#: Depth and side in pixels of the published models, smallest first.
PUBLISHED_SIZES = (
    *((50, 160), (101, 160), (101, 192), (152, 192), (152, 224), (152, 256)),
    *((200, 256), (270, 256), (350, 256), (350, 320), (420, 320)),
)
#: Image sides are multiples of this, because strides halve the image five times.
SIZE_STEP = 32
MAX_SIZE = 320
#: Exponent of the side as a power of the multiply-adds, from 50@160 to 350@256. The
#: paper trains no network above 320 px; earlier rules reach 600 px and more.
SIZE_EXPONENT = math.log(256 / 160) / math.log(34.377 / 2.279)
#: Epochs from which depth is scaled; the paper compares 10, 100 and 350 epochs.
LONG_TRAINING_EPOCHS = 350

#: Cost of the stem and of the stages' first blocks' extra layers, in blocks. The
#: multiply-adds of all blocks are equal, because filters double where sides halve.
_FIXED_BLOCKS = 4.42


def slow_image_size(depth: int) -> int:
    """Returns the smallest side in pixels published for a network at least as deep."""
    return next(size for known, size in PUBLISHED_SIZES if known >= depth)


def regularized(model: ModelConfig, *, image_size: int) -> ModelConfig:
    """Returns the ResNet-RS with the paper's rates for its depth and resolution.

    Dropout is 0.25, from 320 px 0.4; stochastic depth is 0.1 from depth 200.
    """
    return dataclasses.replace(
        model,
        dropout_rate=0.4 if image_size >= MAX_SIZE else 0.25,
        stochastic_depth_rate=0.1 if _depth(model) >= 200 else 0.0,
    )


def randaugment_magnitude(image_size: int) -> float:
    """Returns RandAugment's magnitude: 10 at 160 px and below, 15 above."""
    return 10.0 if image_size <= 160 else 15.0


def scale(
    model: ModelConfig, *, image_size: int, factor: float, num_epochs: float
) -> tuple[ModelConfig, int]:
    """Returns a ResNet-RS of about `factor` times the multiply-adds, and its side.

    The resolution contributes its part by the slow rule, depth or width the rest.

    `image_size` is the side of its input in pixels. A factor below 1 shrinks the
    network. The length of the planned training, in epochs, selects depth or width.
    Raises ValueError for another network.
    """
    depth = _depth(model)
    if factor <= 0.0:
        raise ValueError(f"scale must be positive, got {factor}")
    size = round(image_size * factor**SIZE_EXPONENT / SIZE_STEP) * SIZE_STEP
    size = min(max(size, SIZE_STEP), max(MAX_SIZE, image_size))
    rest = factor * (image_size / size) ** 2
    if num_epochs >= LONG_TRAINING_EPOCHS:
        blocks = rest * (variants.num_blocks(depth) + _FIXED_BLOCKS) - _FIXED_BLOCKS
        name = f"{variants.PREFIX}{_depth_of_blocks(round(blocks))}"
        scaled = dataclasses.replace(model, name=name)
    else:
        width = round(model.width_multiplier * math.sqrt(rest), 2)
        scaled = dataclasses.replace(model, width_multiplier=width)
    return regularized(scaled, image_size=size), size


def _depth(model: ModelConfig) -> int:
    if model.depth is None:
        raise ValueError(f"expected a ResNet-RS to scale, got {model.name}")
    return model.depth


def _depth_of_blocks(blocks: int) -> int:
    depth = 2 + 3 * blocks
    # The paper calls the network of 139 blocks and 419 layers 420.
    return 420 if depth == 419 else depth
