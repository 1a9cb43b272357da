"""Cost of a network: multiply-adds, counted in its TensorFlow graph."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from classifier.models import factory


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
