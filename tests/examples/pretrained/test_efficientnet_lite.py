import re

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf

from examples.pretrained import efficientnet_lite

#: Repeats, kernel, stride, expansion, inputs and outputs of the stages, as in
#: `efficientnet/lite/efficientnet_lite_builder.py` of github.com/tensorflow/tpu.
STAGES = (
    *("r1_k3_s11_e1_i32_o16", "r2_k3_s22_e6_i16_o24", "r2_k5_s22_e6_i24_o40"),
    *("r3_k3_s22_e6_i40_o80", "r3_k5_s11_e6_i80_o112", "r4_k5_s22_e6_i112_o192"),
    "r1_k3_s11_e6_i192_o320",
)


def blocks():
    """Yields kernel, stride, expansion, inputs and outputs of each block."""
    for stage in STAGES:
        repeats, kernel, stride, _, expansion, inputs, outputs = map(
            int,
            re.fullmatch(r"r(\d+)_k(\d)_s(\d)(\d)_e(\d)_i(\d+)_o(\d+)", stage).groups(),
        )
        for _ in range(repeats):
            yield kernel, stride, expansion, inputs, outputs
            stride, inputs = 1, outputs


class Network:
    """The network in TensorFlow, which draws its weights as it computes."""

    def __init__(self, rng):
        self._rng = rng
        self.weights = {}

    def convolve(self, x, layer, norm, outputs, *, kernel=1, stride=1, depthwise=False):
        inputs = x.shape[-1]
        shape = (outputs, 1 if depthwise else inputs, kernel, kernel)
        fan_in = np.prod(shape[1:])
        weight = self._rng.normal(0, 1.5 / np.sqrt(fan_in), shape).astype(np.float32)
        statistics = {
            "weight": self._rng.uniform(0.5, 1.5, outputs),
            "bias": self._rng.normal(0, 0.5, outputs),
            "running_mean": self._rng.normal(0, 0.5, outputs),
            "running_var": self._rng.uniform(0.5, 1.5, outputs),
        }
        statistics = {name: v.astype(np.float32) for name, v in statistics.items()}
        self.weights[f"{layer}.weight"] = weight
        self.weights |= {f"{norm}.{name}": v for name, v in statistics.items()}
        strides = [1, stride, stride, 1]
        if depthwise:
            x = tf.nn.depthwise_conv2d(x, weight.transpose(2, 3, 0, 1), strides, "SAME")
        else:
            x = tf.nn.conv2d(x, weight.transpose(2, 3, 1, 0), strides, "SAME")
        gain, bias, mean, variance = statistics.values()
        return tf.nn.batch_normalization(x, mean, variance, bias, gain, 1e-3)

    def features(self, x):
        x = tf.nn.relu6(self.convolve(x, "_conv_stem", "_bn0", 32, kernel=3, stride=2))
        for number, (kernel, stride, expansion, inputs, outputs) in enumerate(blocks()):
            shortcut, name = x, f"_blocks.{number}."
            if expansion > 1:
                x = self.convolve(
                    x, f"{name}_expand_conv", f"{name}_bn0", expansion * inputs
                )
                x = tf.nn.relu6(x)
            x = self.convolve(
                x,
                f"{name}_depthwise_conv",
                f"{name}_bn1",
                expansion * inputs,
                kernel=kernel,
                stride=stride,
                depthwise=True,
            )
            x = self.convolve(
                tf.nn.relu6(x), f"{name}_project_conv", f"{name}_bn2", outputs
            )
            if stride == 1 and inputs == outputs:
                x = x + shortcut
        x = tf.nn.relu6(self.convolve(x, "_conv_head", "_bn1", 1280))
        return tf.reduce_mean(x, [1, 2]).numpy()


@pytest.mark.parametrize("side", [224, 96])
def test_the_graph_computes_the_published_network(side):
    rng = np.random.default_rng(1)
    pixels = rng.uniform(-1, 1, (2, side, side, 3)).astype(np.float32)
    network = Network(rng)
    expected = network.features(pixels)
    assert expected.std() > 0.1
    model = efficientnet_lite.build(network.weights).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (features,) = session.run(
        ["features"], {"pixel_values": pixels.transpose(0, 3, 1, 2)}
    )
    np.testing.assert_allclose(features, expected, atol=1e-3)


def test_a_missing_weight_is_named():
    with pytest.raises(KeyError, match="_conv_stem"):
        efficientnet_lite.build({})
