"""ResNet-RS as a Keras model: uint8 pixels [B,S,S,3] to float32 logits [B,K].

Paper: "Revisiting ResNets: Improved Training and Scaling Strategies", Bello et al.
2021, https://arxiv.org/abs/2103.07579. Where the paper differs from its authors'
training code, this module follows the code: ResNet-D's stem of three 3x3
convolutions, a fourth one with stride 2 instead of the max-pool, bottlenecks with
the stride on the 3x3, squeeze-and-excitation in every block, ReLU, explicit
symmetric padding. Standardization of the input is part of the network. `ModelConfig`
can disable single changes, down to the plain ResNet of the ablations.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

from classifier.models import variants
from classifier.models.config import ModelConfig

STEM_FILTERS = (32, 32, 64)
STAGE_FILTERS = (64, 128, 256, 512)
#: Ratio of a bottleneck's output filters to its inner ones.
EXPANSION = 4


@keras.saving.register_keras_serializable(package="classifier")
class StochasticDepth(layers.Layer):
    """Drops the residual branch of random examples of a batch (Huang et al. 2016).

    The branch of the remaining examples is scaled by 1 / (1 - rate), so that evaluation
    needs no correction.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Returns [B,H,W,C], with random examples zeroed in training."""
        if not training or self.rate == 0.0:
            return inputs
        keep = 1.0 - self.rate
        shape = (ops.shape(inputs)[0], 1, 1, 1)
        draw = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator)
        mask = ops.cast(ops.floor(keep + draw), inputs.dtype)
        return inputs / keep * mask

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


@keras.saving.register_keras_serializable(package="classifier")
class GroupedBatchNormalization(layers.BatchNormalization):
    """Normalizes equal parts of a batch separately, by their own statistics.

    "Ghost batch norm" (Hoffer et al. 2017). If each device holds complete groups,
    devices only exchange the means of the statistics, which no later layer waits for.
    Evaluation equals that of the plain layer.
    """

    def __init__(self, groups: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.groups = groups

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Returns [B,H,W,C]; in training B must be divisible by the groups."""
        if not training:
            return super().call(inputs, training=False)
        shape = ops.shape(inputs)
        x = ops.reshape(ops.cast(inputs, "float32"), (self.groups, -1, *shape[1:]))
        mean, variance = ops.moments(x, axes=(1, 2, 3), keepdims=True)
        for moving, values in (
            (self.moving_mean, mean),
            (self.moving_variance, variance),
        ):
            now = ops.mean(values, axis=(0, 1, 2, 3))
            moving.assign(self.momentum * moving + (1.0 - self.momentum) * now)
        scale = ops.rsqrt(variance + self.epsilon) * self.gamma
        x = (x - mean) * scale + self.beta
        return ops.cast(ops.reshape(x, shape), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "groups": self.groups}


def build_resnet_rs(
    config: ModelConfig, *, image_size: int, num_classes: int, seed: int = 0
) -> keras.Model:
    """Returns the network with initial weights, see `factory.build_network`."""
    if config.depth is None:
        raise ValueError(f"expected a ResNet-RS, got {config.name}")
    build = _Builder(config, seed)
    inputs = keras.Input((image_size, image_size, 3), dtype="uint8", name="image")
    x = build.stem(standardize(inputs, config))
    for stage, num_blocks in enumerate(variants.stage_blocks(config.depth)):
        for block in range(num_blocks):
            x = build.bottleneck(x, stage=stage, block=block)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(config.dropout_rate, seed=build.next_seed(), name="dropout")(x)
    logits = layers.Dense(
        num_classes,
        kernel_initializer=keras.initializers.RandomNormal(
            stddev=0.01, seed=build.next_seed()
        ),
        dtype="float32",
        name="logits",
    )(x)
    return keras.Model(inputs, logits, name=config.name)


def standardize(pixels: Any, config: ModelConfig) -> Any:
    """Returns uint8 pixels [B,S,S,3] as float32, scaled as `config` says.

    Uses the two steps of `tf_keras.applications.resnet_rs` for identical rounding: a
    deep network with initial weights amplifies differences in the last bit.
    """
    intensities = layers.Rescaling(1 / 255, dtype="float32", name="intensities")(pixels)
    if config.channel_order == "bgr":
        intensities = intensities[..., ::-1]
    return layers.Normalization(
        mean=config.pixel_mean,
        variance=[s**2 for s in config.pixel_stddev],
        dtype="float32",
        name="standardize",
    )(intensities)


class _Builder:
    """Builds the parts of one network, each with its own seed."""

    def __init__(self, config: ModelConfig, seed: int) -> None:
        self._config = config
        self._seed = seed * 10_000  # More than the parts of any variant.
        self._batch_norm: Callable[..., Any] = layers.BatchNormalization
        if config.batch_norm_groups > 1:
            self._batch_norm = functools.partial(
                GroupedBatchNormalization, config.batch_norm_groups
            )

    def next_seed(self) -> int:
        self._seed += 1
        return self._seed

    def width(self, filters: int) -> int:
        return max(1, round(filters * self._config.width_multiplier))

    def conv(
        self,
        x: Any,
        filters: int,
        kernel_size: int,
        *,
        name: str,
        stride: int = 1,
        relu: bool = True,
        zero_gamma: bool = False,
    ) -> Any:
        """Returns x after convolution, batch normalization and, by default, ReLU."""
        padding = "same"
        if stride > 1:  # "same" pads even sizes on one side only.
            margin = (kernel_size - 1) // 2
            x = layers.ZeroPadding2D(margin, name=f"{name}_pad")(x)
            padding = "valid"
        x = layers.Conv2D(
            filters,
            kernel_size,
            strides=stride,
            padding=padding,
            use_bias=False,
            kernel_initializer=self._conv_init(),
            name=f"{name}_conv",
        )(x)
        x = self._batch_norm(
            epsilon=1e-5,
            momentum=self._config.batch_norm_momentum,
            gamma_initializer="zeros" if zero_gamma else "ones",
            name=f"{name}_bn",
        )(x)
        return layers.ReLU(name=f"{name}_relu")(x) if relu else x

    def stem(self, x: Any) -> Any:
        """Returns features at a quarter of the image's side."""
        if not self._config.resnet_d:
            x = self.conv(x, self.width(STEM_FILTERS[-1]), 7, stride=2, name="stem")
            return layers.MaxPooling2D(3, 2, padding="same", name="stem_pool")(x)
        for i, filters in enumerate(STEM_FILTERS):
            stride = 2 if i == 0 else 1
            x = self.conv(x, self.width(filters), 3, stride=stride, name=f"stem_{i}")
        return self.conv(x, self.width(STEM_FILTERS[-1]), 3, stride=2, name="stem_pool")

    def bottleneck(self, inputs: Any, *, stage: int, block: int) -> Any:
        """Returns x after a residual block, a nested model.

        Keras traverses a model's graph by recursion. Layer by layer, the deepest
        variants would exceed Python's recursion limit; block by block they do not.
        """
        name = f"stage{stage + 1}_block{block + 1}"
        stride = 2 if stage > 0 and block == 0 else 1
        filters = self.width(STAGE_FILTERS[stage])
        outside, inputs = inputs, keras.Input(inputs.shape[1:])
        shortcut = inputs
        if block == 0:
            shortcut = self._projection(inputs, filters * EXPANSION, stride, name)
        x = self.conv(inputs, filters, 1, name=f"{name}_reduce")
        x = self.conv(x, filters, 3, stride=stride, name=f"{name}_spatial")
        x = self.conv(
            x,
            filters * EXPANSION,
            1,
            relu=False,
            zero_gamma=True,
            name=f"{name}_expand",
        )
        if self._config.se_ratio > 0.0:
            x = self._squeeze_excite(x, filters * EXPANSION, name)
        rate = self._config.stochastic_depth_rate * (stage + 2) / 5
        x = StochasticDepth(rate, seed=self.next_seed(), name=f"{name}_drop")(x)
        x = layers.Add(name=f"{name}_add")([x, shortcut])
        x = layers.ReLU(name=f"{name}_relu")(x)
        return keras.Model(inputs, x, name=name)(outside)

    def _projection(self, x: Any, filters: int, stride: int, name: str) -> Any:
        """Returns the shortcut of a stage's first block; ResNet-D averages first."""
        if stride > 1 and self._config.resnet_d:
            x = layers.AveragePooling2D(
                stride, padding="same", name=f"{name}_shortcut_pool"
            )(x)
            stride = 1
        return self.conv(
            x, filters, 1, stride=stride, relu=False, name=f"{name}_shortcut"
        )

    def _squeeze_excite(self, x: Any, filters: int, name: str) -> Any:
        squeezed = max(1, int(filters * self._config.se_ratio))
        scale = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_se_pool")(x)
        for part, width, activation in (
            ("reduce", squeezed, "relu"),
            ("expand", filters, "sigmoid"),
        ):
            scale = layers.Conv2D(
                width,
                1,
                activation=activation,
                kernel_initializer=self._conv_init(),
                name=f"{name}_se_{part}",
            )(scale)
        return layers.Multiply(name=f"{name}_se_scale")([x, scale])

    def _conv_init(self) -> keras.initializers.Initializer:
        return keras.initializers.VarianceScaling(
            scale=1.0,
            mode="fan_in",
            distribution="truncated_normal",
            seed=self.next_seed(),
        )
