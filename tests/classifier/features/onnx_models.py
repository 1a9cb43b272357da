"""Small ONNX networks, as somebody else may have exported them."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE, FEATURES = 40, 6


def make_network(
    *,
    layout="nchw",
    side=SIDE,
    batch="N",
    dtype=TensorProto.FLOAT,
    opset=17,
    outputs=("features",),
    names=("pixel_values", "features"),
):
    """A convolution, a mean over places and a matrix: `outputs` of it by name.

    They are `features` [N,D], `map` [N,C,H,W] and `tokens` [N,T,C].
    """
    rng = np.random.default_rng(4)
    numbers = np.float16 if dtype == TensorProto.FLOAT16 else np.float32
    constants = {
        "kernel": rng.normal(size=(5, 3, 3, 3)).astype(numbers),
        "matrix": rng.normal(size=(5, FEATURES)).astype(numbers),
        "flat": np.array([0, 5, -1]),
    }
    image, features = names
    shape = [batch, 3, side, side] if layout == "nchw" else [batch, side, side, 3]
    start, nodes = image, []
    if dtype == TensorProto.UINT8:
        nodes.append(helper.make_node("Cast", [start], ["cast"], to=TensorProto.FLOAT))
        start = "cast"
    if layout == "nhwc":
        nodes.append(
            helper.make_node("Transpose", [start], ["turned"], perm=[0, 3, 1, 2])
        )
        start = "turned"
    nodes += [
        helper.make_node("Conv", [start, "kernel"], ["conv"], strides=[2, 2]),
        helper.make_node("Relu", ["conv"], ["map"]),
        helper.make_node("GlobalAveragePool", ["map"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["pooled"]),
        helper.make_node("MatMul", ["pooled", "matrix"], [features]),
        helper.make_node("Reshape", ["map", "flat"], ["places"]),
        helper.make_node("Transpose", ["places"], ["tokens"], perm=[0, 2, 1]),
    ]
    numbers = TensorProto.FLOAT16 if dtype == TensorProto.FLOAT16 else TensorProto.FLOAT
    ranks = {features: 2, "features": 2, "map": 4, "tokens": 3}
    listed = [features if name == "features" else name for name in outputs]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(image, dtype, shape)],
        [
            helper.make_tensor_value_info(name, numbers, [None] * ranks[name])
            for name in listed
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8
    )


def write(path, model=None, **details):
    """Writes a network; returns its path as text."""
    onnx.save(model or make_network(**details), str(path))
    return str(path)
