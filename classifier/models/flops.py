"""Cost in multiply-adds: of a network, counted in its graph, and of its training."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from classifier.models import factory

#: Forward passes that one image costs in training: the backward pass multiplies every
#: output's gradient with the weights and with the inputs.
PASSES_WITH_GRADIENT = 3


def describe(model: keras.Model) -> str:
    """Returns one line with name, input size, parameters and multiply-adds."""
    multiply_adds = count_multiply_adds(model)
    scale, unit = (1e9, "billion") if multiply_adds >= 1e9 else (1e6, "million")
    scaled = multiply_adds / scale
    return f"{factory.describe(model)}, {scaled:.3f} {unit} multiply-adds an image"


def count_multiply_adds(model: keras.Model) -> int:
    """Returns the multiply-adds of one image, in convolutions and dense layers.

    The FLOPs in the ResNet-RS paper are twice as many. Raises ValueError if the graph
    has a multiplying operation of an unknown type.
    """
    spec = tf.TensorSpec([1, *model.input_shape[1:]], model.inputs[0].dtype)
    function = tf.function(lambda image: model(image, training=False))
    before = tf.config.functions_run_eagerly()
    # Traces nested functions, such as Keras's grouped convolution, in place.
    tf.config.run_functions_eagerly(True)
    try:
        graph = function.get_concrete_function(spec).graph
    finally:
        tf.config.run_functions_eagerly(before)
    return sum(_multiply_adds(operation) for operation in graph.get_operations())


def training_multiply_adds(
    multiply_adds: int,
    *,
    num_steps: int,
    with_gradient: int,
    without_gradient: int = 0,
) -> int:
    """Returns the multiply-adds of a training run, for comparing computes.

    Evaluations, which nothing is learned from, are not counted; frozen layers are
    counted as trained ones. A labeling job costs one forward pass for each image.

    Args:
        multiply_adds: Multiply-adds of the forward pass of one image, see
            `count_multiply_adds`.
        num_steps: Steps of the run.
        with_gradient: Images of a step that pass forward and backward.
        without_gradient: Images of a step that pass forward only, to be labeled.
    """
    passes = PASSES_WITH_GRADIENT * with_gradient + without_gradient
    return num_steps * passes * multiply_adds


#: Substrings of operation types that multiply, or may contain multiplications, and
#: cannot be counted.
_UNCOUNTED = ("Conv", "BatchMatMul", "Einsum", "PartitionedCall")


def _multiply_adds(operation: Any) -> int:
    if operation.type in ("Conv2D", "DepthwiseConv2dNative"):
        height, width, channels, _ = operation.inputs[1].shape
        outputs = operation.outputs[0].shape.num_elements()
        # A depthwise output depends on one channel, any other on all of its group.
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
