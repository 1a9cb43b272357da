"""Networks by name: ResNet-RS, EfficientNet-Lite, or any of `keras.applications`.

All share one contract: uint8 pixels [B,S,S,3] in, float32 logits [B,K] out,
standardization inside, initial weights determined by the seed.
"""

from __future__ import annotations

import contextlib
import inspect
import math
import random
import re
from collections.abc import Iterator
from typing import Any, Literal

import keras

from classifier.models import variants
from classifier.models.config import ModelConfig
from classifier.models.efficientnet_lite import build_efficientnet_lite
from classifier.models.resnet_rs import build_resnet_rs, standardize


def build_network(
    config: ModelConfig,
    *,
    image_size: int,
    num_classes: int,
    seed: int = 0,
    dtype: Literal["float32", "bfloat16"] = "float32",
) -> keras.Model:
    """Returns the network with initial weights.

    Args:
        config: Network and its settings.
        image_size: Side S of the square input in pixels.
        num_classes: K, width of the head.
        seed: Seed of the initial weights, of dropout and of stochastic depth.
        dtype: Type that layers compute in. Weights, batch-norm statistics and logits
            are float32.
    """
    if num_classes < 2:
        raise ValueError(f"expected at least 2 classes, got {num_classes}")
    with _dtype_policy(dtype):
        build = _build_application
        if config.depth is not None:
            build = build_resnet_rs
        elif config.name in variants.EFFICIENTNET_LITE:
            build = build_efficientnet_lite
        return build(config, image_size=image_size, num_classes=num_classes, seed=seed)


def freeze(model: keras.Model, *, stages: int) -> None:
    """Makes the stem and the first stages of a ResNet-RS untrainable.

    Their batch-norm normalizes with its running statistics. The number of stages is in
    0..4; 0 does not freeze the stem either.
    """
    if stages == 0:
        return
    frozen = ("stem", *(f"stage{number}_" for number in range(1, stages + 1)))
    for layer in model.layers:
        if layer.name.startswith(frozen):
            layer.trainable = False


def freeze_batch_norm(model: keras.Model) -> None:
    """Makes batch-norm layers untrainable, those of nested models included.

    They normalize with their running statistics.
    """
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            freeze_batch_norm(layer)
        elif isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def describe(model: keras.Model) -> str:
    """Returns one line with name, input size and number of parameters."""
    return (
        f"{model.name} at {model.input_shape[1]} px: {count_parameters(model):,} "
        "parameters"
    )


def named_variables(model: keras.Model) -> dict[str, Any]:
    """Returns `model.variables` in order, by names that are the same in every process.

    The name is the path of a weight of our own networks. For those of Keras and for
    dropout's seeds, it starts with the position instead: Keras numbers unnamed layers
    through a process.
    """
    named = {}
    for index, variable in enumerate(model.variables):
        name = f"{index:04d}/{re.sub(r'_[0-9]+$', '', variable.name)}"
        if variants.is_own(model.name) and is_weight(variable):
            name = variable.path
        named[name] = variable
    return named


def is_weight(variable: Any) -> bool:
    """Returns whether a variable is a weight, not a random generator's state."""
    return bool(keras.backend.is_float_dtype(variable.dtype))


def count_parameters(model: keras.Model) -> int:
    """Returns the number of trainable weights, as papers count them.

    Excludes batch-norm's running statistics.
    """
    return sum(math.prod(v.shape) for v in model.trainable_variables)


def _build_application(
    config: ModelConfig, *, image_size: int, num_classes: int, seed: int
) -> keras.Model:
    """Returns a network of `keras.applications` behind `standardize`."""
    name = config.name
    build = getattr(keras.applications, name)
    options = {
        "weights": None,
        "input_shape": (image_size, image_size, 3),
        "classes": num_classes,
        "classifier_activation": None,
    }
    if "include_preprocessing" in inspect.signature(build).parameters:
        options["include_preprocessing"] = False
    inputs = keras.Input((image_size, image_size, 3), dtype="uint8", name="image")
    with _seeded(seed):
        try:
            network = build(**options)
        except ValueError as error:
            raise ValueError(f"cannot build {name}: {error}") from error
    logits = network(standardize(inputs, config))
    if logits.dtype != "float32":
        logits = keras.layers.Activation("linear", dtype="float32")(logits)
    return keras.Model(inputs, logits, name=name)


@contextlib.contextmanager
def _dtype_policy(dtype: str) -> Iterator[None]:
    """Builds layers that compute in `dtype`, with float32 variables."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32" if dtype == "float32" else f"mixed_{dtype}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Determines the seeds that Keras draws for initializers and dropout.

    Keras draws them from Python's global generator, whose state is restored afterwards.
    """
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
