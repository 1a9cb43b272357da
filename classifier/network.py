"""Networks by name: ResNet-RS, or any other that Keras ships.

All keep one contract: uint8 pixels [B,S,S,3] in, float32 logits [B,K] out,
standardization inside, fresh weights that the seed alone decides.
"""

from __future__ import annotations

import contextlib
import inspect
import math
import random
import re
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from classifier import variants
from classifier.config import ModelConfig
from classifier.resnet_rs import build_resnet_rs, standardize

#: Fewer leave nothing to decide.
MIN_CLASSES = 2


def build_network(
    config: ModelConfig, *, image_size: int, num_classes: int, seed: int = 0
) -> keras.Model:
    """Returns the network with fresh weights.

    Args:
        config: Which network, and ResNet-RS's settings.
        image_size: Side S of the square input in pixels.
        num_classes: K, width of the head.
        seed: Of the initial weights, of dropout and of stochastic depth.

    Raises:
        ValueError: If there are too few classes, or the image is too small for the
            network.
    """
    if num_classes < MIN_CLASSES:
        raise ValueError(f"expected at least {MIN_CLASSES} classes, got {num_classes}")
    if config.depth is not None:
        return build_resnet_rs(
            config, image_size=image_size, num_classes=num_classes, seed=seed
        )
    return _build_application(
        config.name, image_size=image_size, num_classes=num_classes, seed=seed
    )


def describe(model: keras.Model) -> str:
    """Returns what a network is and costs, as one line."""
    multiply_adds = count_multiply_adds(model)
    scaled, unit = (
        (multiply_adds / 1e9, "billion")
        if multiply_adds >= 1e9
        else (multiply_adds / 1e6, "million")
    )
    return (
        f"{model.name} at {model.input_shape[1]} px: {count_parameters(model):,} "
        f"parameters, {scaled:.3f} {unit} multiply-adds an image"
    )


def variable_names(model: keras.Model) -> list[str]:
    """Returns a name for each of `model.variables`, the same in every process.

    That is the path in a ResNet-RS. Other networks, and the seeds of dropout, have
    parts without a name of their own, which Keras counts through a whole process;
    there it is the position.
    """
    is_ours = model.name.startswith(variants.PREFIX)
    return [
        variable.path
        if is_ours and is_weight(variable)
        else f"{index:04d}/{re.sub(r'_[0-9]+$', '', variable.name)}"
        for index, variable in enumerate(model.variables)
    ]


def is_weight(variable: Any) -> bool:
    """Whether it is learned or averaged, not the state of a random generator."""
    return bool(keras.backend.is_float_dtype(variable.dtype))


def count_parameters(model: keras.Model) -> int:
    """Returns the number of trainable weights, as papers count them.

    Batch-norm's running statistics are not trained, and not among them.
    """
    return sum(math.prod(v.shape) for v in model.trainable_variables)


def count_multiply_adds(model: keras.Model) -> int:
    """Returns the multiply-adds of one image, in convolutions and dense layers.

    They are counted in the traced graph. The FLOPs that the ResNet-RS paper states
    are twice as many.

    Raises:
        ValueError: If the graph has an operation that would have to be counted, and
            is not known here.
    """
    spec = tf.TensorSpec([1, *model.input_shape[1:]], model.inputs[0].dtype)
    function = tf.function(lambda image: model(image, training=False))
    with _functions_unwrapped():
        graph = function.get_concrete_function(spec).graph
    return sum(_multiply_adds(operation) for operation in graph.get_operations())


@contextlib.contextmanager
def _functions_unwrapped() -> Iterator[None]:
    """Traces functions in functions in place, as Keras's convolution in groups is."""
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


#: Parts of the names of operations that multiply, or may hide what does, and are not
#: counted here.
_UNCOUNTED = ("Conv", "BatchMatMul", "Einsum", "PartitionedCall")


def _multiply_adds(operation: Any) -> int:
    if operation.type in ("Conv2D", "DepthwiseConv2dNative"):
        height, width, channels, _ = operation.inputs[1].shape
        outputs = operation.outputs[0].shape.num_elements()
        # A depthwise output looks at one channel; any other at all of its group.
        inputs = channels if operation.type == "Conv2D" else 1
        return height * width * inputs * outputs
    if operation.type == "MatMul":
        rows, inner = operation.inputs[0].shape
        if operation.get_attr("transpose_a"):
            rows, inner = inner, rows
        return rows * inner * operation.outputs[0].shape[1]
    if any(word in operation.type for word in _UNCOUNTED):
        raise ValueError(f"cannot count the multiply-adds of {operation.type}")
    return 0


def _build_application(
    name: str, *, image_size: int, num_classes: int, seed: int
) -> keras.Model:
    """Returns a network of `keras.applications` behind our standardization."""
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
    return keras.Model(inputs, network(standardize(inputs)), name=name)


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Decides the seeds that Keras draws for initializers and dropout.

    It draws them from Python's own generator, whose state is put back afterwards.
    """
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
