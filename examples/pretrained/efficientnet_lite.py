"""EfficientNet-Lite0 up to its pooled features, as an ONNX graph.

The network of Tan and Le 2019, https://arxiv.org/abs/1905.11946, without squeeze and
excitation and with ReLU6: `efficientnet/lite` in github.com/tensorflow/tpu, which is
also the source of its preprocessing. Names of weights are those of the package
`efficientnet-lite-pytorch`, a port. A batch normalization is part of the convolution
before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

INPUT, OUTPUT = "pixel_values", "features"
#: Number of blocks of each stage, and stride of its first block.
_STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))
_EPSILON = 1e-3
#: Versions of ONNX's operations and of its files; ONNX Runtime 1.11 reads both.
_OPSET, _IR_VERSION = 13, 8


def build(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Returns the network: float pixels [B,3,S,S] to features [B,1280].

    S is a multiple of 32, as 224, which it was trained with.

    Raises:
        KeyError: If one of the weights is missing.
    """
    layers = _Layers(weights)
    x = layers.relu6(layers.convolve(INPUT, "_conv_stem", "_bn0", stride=2))
    for number, (stride, is_first) in enumerate(_blocks()):
        x = layers.block(x, f"_blocks.{number}.", stride, adds_input=not is_first)
    x = layers.relu6(layers.convolve(x, "_conv_head", "_bn1"))
    layers.add("Flatten", layers.add("GlobalAveragePool", x), output=OUTPUT)
    features = len(weights["_conv_head.weight"])
    graph = helper.make_graph(
        layers.nodes,
        "efficientnet_lite0",
        [_describe(INPUT, "batch", 3, "side", "side")],
        [_describe(OUTPUT, "batch", features)],
        layers.constants,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _blocks() -> Iterator[tuple[int, bool]]:
    """Yields the stride of each block, and whether it is the first of its stage."""
    for blocks, stride in _STAGES:
        yield stride, True
        yield from [(1, False)] * (blocks - 1)


def _describe(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


class _Layers:
    """Nodes and constants; each layer that is added returns its output's name."""

    def __init__(self, weights: Mapping[str, np.ndarray]) -> None:
        self._weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants = [
            numpy_helper.from_array(np.array(value, np.float32), name)
            for name, value in (("zero", 0), ("six", 6))
        ]

    def add(
        self,
        operation: str,
        *inputs: str,
        output: str | None = None,
        **settings: object,
    ) -> str:
        output = output or f"{operation}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, inputs, [output], **settings))
        return output

    def relu6(self, x: str) -> str:
        return self.add("Clip", x, "zero", "six")

    def convolve(self, x: str, layer: str, norm: str, *, stride: int = 1) -> str:
        """Returns a normalized convolution, padded like TensorFlow's "SAME".

        As all sides are multiples of the stride, the padding is the same for all.
        """
        kernel = self._weights[f"{layer}.weight"]
        gain, bias, mean, variance = (
            self._weights[f"{norm}.{name}"]
            for name in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gain / np.sqrt(variance + _EPSILON)
        padding = kernel.shape[-1] - stride
        before, after = padding // 2, padding - padding // 2
        return self.add(
            "Conv",
            x,
            self._hold(f"{layer}.kernel", kernel * scale[:, None, None, None]),
            self._hold(f"{layer}.bias", bias - mean * scale),
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=len(kernel) if layer.endswith("_depthwise_conv") else 1,
        )

    def block(self, x: str, name: str, stride: int, *, adds_input: bool) -> str:
        """Returns an inverted residual block: expand, filter each channel, project."""
        found = x
        if f"{name}_expand_conv.weight" in self._weights:
            found = self.relu6(
                self.convolve(found, f"{name}_expand_conv", f"{name}_bn0")
            )
        found = self.convolve(
            found, f"{name}_depthwise_conv", f"{name}_bn1", stride=stride
        )
        found = self.convolve(self.relu6(found), f"{name}_project_conv", f"{name}_bn2")
        return self.add("Add", found, x) if adds_input else found

    def _hold(self, name: str, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(value.astype(np.float32), name))
        return name
