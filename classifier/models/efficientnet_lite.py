"""EfficientNet-Lite as a Keras model: uint8 pixels [B,S,S,3] to float32 logits [B,K].

The network of Tan and Le 2019, https://arxiv.org/abs/1905.11946, for devices without
squeeze-and-excitation and swish: `efficientnet/lite` in github.com/tensorflow/tpu,
whose stochastic depth is left out. Stem, head and the numbers of blocks of the first
and last stage are the same in all variants.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import layers

from classifier.models import variants
from classifier.models.config import ModelConfig
from classifier.models.resnet_rs import standardize

STEM_FILTERS, HEAD_FILTERS = 32, 1280
#: Blocks, filters, kernel size and stride of each stage of Lite0.
STAGES = (
    *((1, 16, 3, 1), (2, 24, 3, 2), (2, 40, 5, 2), (3, 80, 3, 2)),
    *((3, 112, 5, 1), (4, 192, 5, 2), (1, 320, 3, 1)),
)
#: Ratio of a block's inner filters to its input's, except in the first stage.
EXPANSION = 6
#: Filters are multiples of this.
_FILTERS_STEP = 8
_EPSILON = 1e-3


def build_efficientnet_lite(
    config: ModelConfig, *, image_size: int, num_classes: int, seed: int = 0
) -> keras.Model:
    """Returns the network with initial weights, see `factory.build_network`."""
    width, depth, _ = variants.EFFICIENTNET_LITE[config.name]
    build = _LiteBuilder(config, seed)
    inputs = keras.Input((image_size, image_size, 3), dtype="uint8", name="image")
    x = standardize(inputs, config)
    x = build.conv(x, STEM_FILTERS, 3, stride=2, name="stem")
    for stage, (num_blocks, filters, kernel_size, stride) in enumerate(STAGES, start=1):
        for block in range(scaled_blocks(stage, num_blocks, depth)):
            x = build.block(
                x,
                scaled_filters(filters, width),
                kernel_size,
                stride=stride if block == 0 else 1,
                expansion=1 if stage == 1 else EXPANSION,
                name=f"stage{stage}_block{block + 1}",
            )
    x = build.conv(x, HEAD_FILTERS, name="head")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(config.dropout_rate, seed=build.next_seed(), name="dropout")(x)
    # The authors' deviation, 0.58 / sqrt(K), is for a thousand classes.
    initializer = keras.initializers.RandomNormal(stddev=0.01, seed=build.next_seed())
    logits = layers.Dense(
        num_classes, kernel_initializer=initializer, dtype="float32", name="logits"
    )(x)
    return keras.Model(inputs, logits, name=config.name)


def scaled_blocks(stage: int, num_blocks: int, depth: float) -> int:
    """Returns the number of blocks of a stage, counted from 1."""
    is_scaled = 1 < stage < len(STAGES)
    return math.ceil(num_blocks * depth) if is_scaled else num_blocks


def scaled_filters(filters: int, width: float) -> int:
    """Returns the nearest multiple of 8, or the next one if that takes over a tenth."""
    wanted = filters * width
    nearest = int(wanted + _FILTERS_STEP / 2) // _FILTERS_STEP * _FILTERS_STEP
    return nearest if nearest >= 0.9 * wanted else nearest + _FILTERS_STEP


class _LiteBuilder:
    """Builds the parts of one network, each with its own seed."""

    def __init__(self, config: ModelConfig, seed: int) -> None:
        self._config = config
        self._seed = seed * 10_000  # More than the parts of any variant.

    def next_seed(self) -> int:
        self._seed += 1
        return self._seed

    def block(
        self,
        inputs: Any,
        filters: int,
        kernel_size: int,
        *,
        stride: int,
        expansion: int,
        name: str,
    ) -> Any:
        """Returns x after an inverted residual block: expand, filter, project."""
        x, inner = inputs, inputs.shape[-1] * expansion
        if expansion > 1:
            x = self.conv(x, inner, name=f"{name}_expand")
        depthwise = layers.DepthwiseConv2D(
            kernel_size,
            strides=stride,
            padding="same",
            use_bias=False,
            depthwise_initializer=self._conv_init(),
            name=f"{name}_depthwise_conv",
        )
        x = self._normalize(depthwise(x), name=f"{name}_depthwise")
        x = self.conv(x, filters, relu=False, name=f"{name}_project")
        if x.shape != inputs.shape:
            return x
        return layers.Add(name=f"{name}_add")([x, inputs])

    def conv(
        self,
        x: Any,
        filters: int,
        kernel_size: int = 1,
        *,
        name: str,
        stride: int = 1,
        relu: bool = True,
    ) -> Any:
        """Returns x after convolution, batch normalization and, by default, ReLU6."""
        x = layers.Conv2D(
            filters,
            kernel_size,
            strides=stride,
            padding="same",
            use_bias=False,
            kernel_initializer=self._conv_init(),
            name=f"{name}_conv",
        )(x)
        return self._normalize(x, name=name, relu=relu)

    def _normalize(self, x: Any, *, name: str, relu: bool = True) -> Any:
        x = layers.BatchNormalization(
            epsilon=_EPSILON,
            momentum=self._config.batch_norm_momentum,
            name=f"{name}_bn",
        )(x)
        return layers.ReLU(6.0, name=f"{name}_relu")(x) if relu else x

    def _conv_init(self) -> keras.initializers.Initializer:
        return keras.initializers.VarianceScaling(
            scale=2.0,
            mode="fan_out",
            distribution="untruncated_normal",
            seed=self.next_seed(),
        )
