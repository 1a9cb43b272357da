"""The scaling rules of ResNet-RS (Bello et al. 2021).

1. Make a network deeper where training is long enough to overfit, wider where it is
   not.
2. Raise the resolution slowly, and not beyond 320 px.

The regularization grows with both, as it does in the eleven published models.
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
#: Strides halve the image five times, so its sides are multiples of this.
SIZE_STEP = 32
MAX_SIZE = 320
#: Growth of the side with the multiply-adds, as a power, from 50@160 to 350@256. The
#: paper trains no network above 320 px, where earlier rules go to 600 and beyond.
SIZE_EXPONENT = math.log(256 / 160) / math.log(34.377 / 2.279)
#: From here on depth pays more than width; the paper compares 10, 100 and 350 epochs.
LONG_TRAINING_EPOCHS = 350

#: Multiply-adds of one bottleneck block at 256 px and width 1. Every stage's blocks
#: cost the same, as filters double where sides halve; what comes on top, the stem and
#: each stage's first block, costs as much as 4.42 blocks.
_BLOCK_COST = 0.2855e9
_FIXED_BLOCKS = 4.42
_COST_SIZE = 256


def slow_image_size(depth: int) -> int:
    """Returns the smallest side in pixels published for a network at least as deep."""
    return next(size for known, size in PUBLISHED_SIZES if known >= depth)


def regularized(model: ModelConfig, *, image_size: int) -> ModelConfig:
    """Returns the ResNet-RS with the rates the paper gives its depth and resolution.

    Dropout is 0.25, from 320 px on 0.4; stochastic depth begins at depth 200.
    """
    return dataclasses.replace(
        model,
        dropout_rate=0.4 if image_size >= MAX_SIZE else 0.25,
        stochastic_depth_rate=0.1 if _depth(model) >= 200 else 0.0,
    )


def randaugment_magnitude(image_size: int) -> float:
    """Returns RandAugment's magnitude: 10 at 160 px and below, 15 above."""
    return 10.0 if image_size <= 160 else 15.0


def estimate_multiply_adds(model: ModelConfig, *, image_size: int) -> float:
    """Returns about how many a ResNet-RS needs for one image, without building it.

    Within 2 % of the published models; `classifier.models.factory` counts exactly.
    """
    blocks = variants.num_blocks(_depth(model)) + _FIXED_BLOCKS
    area = (image_size / _COST_SIZE) ** 2
    return _BLOCK_COST * blocks * area * model.width_multiplier**2


def scale(
    model: ModelConfig, *, image_size: int, factor: float, num_epochs: float
) -> tuple[ModelConfig, int]:
    """Returns a ResNet-RS of about `factor` times the multiply-adds, and its side.

    The resolution takes its slow share of the factor, depth or width the rest.

    Args:
        model: The ResNet-RS to start from.
        image_size: Its input's side in pixels.
        factor: Of the multiply-adds of one image; below 1 makes it smaller.
        num_epochs: Of the training to come; decides between depth and width.

    Raises:
        ValueError: If there is no such network.
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
    # 420 is what its authors call the network of 139 blocks and 419 layers.
    return 420 if depth == 419 else depth
