import re

import keras
import numpy as np
import pytest

from classifier.models import efficientnet_lite, factory, flops, variants
from classifier.models.config import ModelConfig

SLOW = pytest.mark.slow
NAME = "EfficientNetLite0"
#: Weights with 1000 classes, of which timm's table gives three digits, and billions of
#: multiply-adds by the authors' table, which counts more than convolutions and head.
PUBLISHED = {
    "EfficientNetLite0": (4_652_008, 0.407),
    "EfficientNetLite1": (5_416_680, 0.631),
    "EfficientNetLite2": (6_092_072, 0.899),
    "EfficientNetLite3": (8_197_096, 1.440),
    "EfficientNetLite4": (13_006_568, 2.640),
}


def build(name=NAME, size=32, **settings):
    config = ModelConfig(name=name, **settings)
    return factory.build_network(config, image_size=size, num_classes=5)


@pytest.mark.parametrize(
    "name",
    [
        *("EfficientNetLite0", "EfficientNetLite2"),
        *(pytest.param(f"EfficientNetLite{i}", marks=SLOW) for i in (1, 3, 4)),
    ],
)
@pytest.mark.usefixtures("zero_weights")
def test_a_published_network_to_the_last_weight(name):
    size = variants.EFFICIENTNET_LITE[name][-1]
    model = factory.build_network(
        ModelConfig(name=name), image_size=size, num_classes=1000
    )
    parameters, billion = PUBLISHED[name]
    assert factory.count_parameters(model) == parameters
    counted = flops.count_multiply_adds(model) / 1e9
    assert 0.94 * billion < counted < 0.97 * billion


@pytest.mark.parametrize(
    ("filters", "width", "expected"),
    [(16, 1.0, 16), (16, 1.1, 16), (24, 1.1, 24), (40, 1.4, 56), (24, 0.45, 16)],
)
def test_filters_are_multiples_that_lose_at_most_a_tenth(filters, width, expected):
    assert efficientnet_lite.scaled_filters(filters, width) == expected


def test_kernels_start_as_the_authors_draw_them():
    """A normal distribution of the variance 2 / (k * k * filters), for each channel."""
    for name, variable in factory.named_variables(build()).items():
        if not (match := re.fullmatch(r".*_(depthwise_)?conv/kernel", name)):
            continue
        kernel = np.asarray(variable)
        filters = 1 if match[1] else kernel.shape[-1]
        expected = np.sqrt(2 / (kernel.shape[0] ** 2 * filters))
        error = expected / np.sqrt(2 * kernel.size)
        assert kernel.std() == pytest.approx(expected, abs=4 * error)


def test_settings_apply():
    model = build(dropout_rate=0.2, batch_norm_momentum=0.9)
    assert model.get_layer("dropout").rate == 0.2
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    norm = model.get_layer("stem_bn")
    before = np.asarray(norm.moving_mean)
    stem = keras.Model(model.input, model.get_layer("stem_conv").output)
    mean = np.mean(stem(pixels), axis=(0, 1, 2))
    model(pixels, training=True)
    np.testing.assert_allclose(norm.moving_mean, 0.9 * before + 0.1 * mean, atol=1e-5)


def test_activations_end_at_six():
    model = build()
    outputs = [layer.output for layer in model.layers if layer.name.endswith("_relu")]
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    for variable in model.trainable_variables:
        if variable.path.endswith("gamma"):
            variable.assign(9 * keras.ops.ones_like(variable))
    for found in keras.Model(model.input, outputs)(pixels, training=False):
        assert np.min(found) == 0
        assert np.max(found) == 6
