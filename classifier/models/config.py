"""Configuration of the network."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

from classifier.models import variants
from stage.overrides import unknown
from stage.validation import check, check_positive, check_rate

#: Number of stages of residual blocks in a ResNet.
NUM_STAGES = 4
#: Statistics of ImageNet's training images, for intensities from 0 to 1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STDDEV = (0.229, 0.224, 0.225)
#: Largest factor for the filters: what fits into memory, 6 billion weights at depth 50.
MAX_WIDTH = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Network, scaling of its pixels, and regularization.

    Fields apply to ResNet-RS only, except for the name and the scaling of pixels; the
    rate of dropout and the momentum apply to EfficientNet-Lite, too.

    Attributes:
        name: `resnet_rs_DEPTH`, see `classifier.models.variants`, `EfficientNetLite0`
            to `4`, or a network of `keras.applications`, such as `EfficientNetV2B0`.
        width_multiplier: Factor for the filters of every layer except the head.
        resnet_d: Whether to use ResNet-D's three changes (He et al. 2018): a stem of
            three 3x3 convolutions, a strided one instead of the max-pool, and a
            shortcut that averages before it projects.
        se_ratio: Squeeze width as a share of the block's output filters; 0 builds
            no squeeze-and-excitation.
        dropout_rate: Probability of dropping a feature before the head.
        stochastic_depth_rate: Probability of dropping a block of the last stage
            (drop path); stage i of 4 drops with `rate * (i + 1) / 5`.
        batch_norm_momentum: Share of the running statistics kept at each batch. 0
            keeps the last batch's statistics only; the exponential moving average of
            `optimizer.ema_decay` smooths instead.
        batch_norm_groups: Number of equal parts of a batch that are normalized
            separately (Hoffer et al. 2017); the running statistics are their mean. 1
            normalizes over the whole batch, however many devices share it.
        pixel_mean: Mean that is subtracted from each channel's intensities in [0, 1],
            in the order of the network's channels.
        pixel_stddev: What the difference is divided by, positive; in the same order.
        channel_order: Order of the network's channels.
    """

    name: str = "resnet_rs_50"
    width_multiplier: float = 1.0
    resnet_d: bool = True
    se_ratio: float = 0.25
    dropout_rate: float = 0.25
    stochastic_depth_rate: float = 0.0
    batch_norm_momentum: float = 0.0
    batch_norm_groups: int = 1
    pixel_mean: tuple[float, ...] = IMAGENET_MEAN
    pixel_stddev: tuple[float, ...] = IMAGENET_STDDEV
    channel_order: Literal["rgb", "bgr"] = "rgb"

    def __post_init__(self) -> None:
        if variants.depth_of(self.name) is None and (
            self.name not in variants.KNOWN_NAMES
        ):
            raise ValueError(unknown("model", self.name, variants.KNOWN_NAMES))
        check(
            0.0 < self.width_multiplier <= MAX_WIDTH,
            f"model.width_multiplier must be in (0, {MAX_WIDTH}], got "
            f"{self.width_multiplier}",
        )
        check(
            0.0 <= self.se_ratio <= 1.0,
            f"model.se_ratio must be in [0, 1], got {self.se_ratio}",
        )
        check_rate("model.dropout_rate", self.dropout_rate)
        check_rate("model.stochastic_depth_rate", self.stochastic_depth_rate)
        check_rate("model.batch_norm_momentum", self.batch_norm_momentum)
        check_positive("model.batch_norm_groups", self.batch_norm_groups)
        check(
            self.batch_norm_groups == 1 or self.depth is not None,
            f"model.batch_norm_groups must be 1 for {self.name} (no ResNet-RS), got "
            f"{self.batch_norm_groups}",
        )
        for name, is_allowed, expected in (
            ("pixel_mean", math.isfinite, "three finite numbers"),
            ("pixel_stddev", _is_divisor, "three positive numbers"),
        ):
            values = getattr(self, name)
            check(
                len(values) == 3 and all(map(is_allowed, values)),
                f"model.{name} must be {expected}, got {values}",
            )

    @property
    def depth(self) -> int | None:
        """Depth of the ResNet-RS; None for another network."""
        return variants.depth_of(self.name)


def _is_divisor(value: float) -> bool:
    return math.isfinite(value) and value > 0
