"""Multiply-adds of an ONNX graph, counted as `classifier.models.flops` does.

The shapes are those of a run with one image: exporters leave too many open.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

#: Operators that multiply, and the position of their second factor.
_CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3}
_PRODUCTS = {"MatMul", "MatMulInteger", "QLinearMatMul", "Gemm"}
#: Operators that cannot be counted.
_UNCOUNTED = {
    *("Attention", "ConvTranspose", "DeformConv", "Einsum", "GRU", "LSTM", "RNN"),
    *("If", "Loop", "Scan"),
}
#: Names of ONNX's own operators.
_DOMAINS = ("", "ai.onnx")
#: Name of the input among shapes, which no tensor has.
_IMAGES = ""
#: ONNX Runtime's level for errors alone.
_ERRORS = 3


def count_multiply_adds(model: Any) -> int | None:
    """Returns the multiply-adds of one image; None if they cannot be counted.

    They cannot if an operator is unknown, or more of the input than the number of
    images is open.
    """
    nodes = model.graph.node
    if any(n.op_type in _UNCOUNTED or n.domain not in _DOMAINS for n in nodes):
        return None
    factors = {node.output[0]: _factor(node) for node in nodes if _factor(node)}
    shapes = _run(model, {*factors, *factors.values()}) if factors else {}
    if shapes is None:
        return None
    total = sum(
        math.prod(shapes[node.output[0]]) * _inner(node, shapes[_factor(node)])
        for node in nodes
        if _factor(node)
    )
    return total // shapes.get(_IMAGES, (1,))[0]


def _factor(node: Any) -> str:
    """Returns the factor whose shape says the length of a sum; "" if there is none."""
    if node.op_type in _CONVOLUTIONS:
        return str(node.input[_CONVOLUTIONS[node.op_type]])
    return str(node.input[0]) if node.op_type in _PRODUCTS else ""


def _inner(node: Any, factor: tuple[int, ...]) -> int:
    """Returns the multiply-adds of one output."""
    if node.op_type in _CONVOLUTIONS:
        return math.prod(factor[1:])  # Channels of one group, by pixels.
    is_transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return factor[-2 if is_transposed else -1]


def _run(model: Any, names: set[str]) -> dict[str, tuple[int, ...]] | None:
    """Returns shapes of tensors, also of the images; None if their size is open."""
    import onnx
    import onnxruntime

    told = type(model)()
    told.CopyFrom(model)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in told.graph.initializer}
    known = {value.name for value in told.graph.output}
    wanted = sorted(names - shapes.keys() - {value.name for value in told.graph.input})
    told.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(n) for n in wanted if n not in known
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS
    session = onnxruntime.InferenceSession(
        told.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (images,) = session.get_inputs()
    count, *sides = images.shape
    if not all(isinstance(side, int) for side in sides):
        return None
    types = {"tensor(uint8)": np.uint8, "tensor(float16)": np.float16}
    batch = count if isinstance(count, int) else 1
    feed = np.zeros((batch, *sides), types.get(images.type, np.float32))
    shapes[images.name] = shapes[_IMAGES] = feed.shape
    found = session.run(wanted, {images.name: feed})
    return shapes | {n: v.shape for n, v in zip(wanted, found, strict=True)}
