import dataclasses
import random

import keras
import numpy as np
import pytest
import tensorflow as tf

from classifier import summary
from classifier.models import factory, flops, resnet_rs, variants
from classifier.models.config import ModelConfig
from classifier.training import presets

SLOW = pytest.mark.slow
#: Batch-norm channels of the published networks.
CHANNELS = {
    50: 26_688,
    101: 52_800,
    152: 75_840,
    200: 88_128,
    270: 121_536,
    350: 156_096,
    420: 185_280,
}
#: One resolution of each depth; the test of `classifier.summary` has all of them.
ROWS = [(50, 160), (101, 192), (152, 224), (200, 256), (270, 256), (350, 320)]


@pytest.mark.parametrize(
    ("depth", "size"),
    [
        *ROWS[:2],
        *(pytest.param(*row, marks=pytest.mark.slow) for row in ROWS[2:]),
        pytest.param(420, 320, marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("zero_weights")
def test_a_published_network_to_the_last_weight_and_multiply_add(depth, size):
    recipe = presets.find(f"resnet_rs_{depth}_{size}")
    model = factory.build_network(recipe.model, image_size=size, num_classes=1000)
    parameters, billion_flops = summary.PUBLISHED[depth, size]
    assert factory.count_parameters(model) == parameters
    moving = [v for v in model.non_trainable_variables if "moving" in v.path]
    assert sum(v.shape[0] for v in moving) == 2 * CHANNELS[depth]
    assert round(2 * flops.count_multiply_adds(model) / 1e9, 2) == billion_flops


@pytest.mark.parametrize(
    "name", ["resnet_rs_14", "EfficientNetLite0", "MobileNetV3Small"]
)
def test_the_seed_alone_decides_the_weights(name):
    config = ModelConfig(name=name, width_multiplier=0.125)
    state = random.getstate()
    first, second, other = (
        factory.build_network(config, image_size=32, num_classes=4, seed=seed)
        for seed in (7, 7, 8)
    )
    assert random.getstate() == state
    weights = [model.get_weights() for model in (first, second, other)]
    for left, right in zip(weights[0], weights[1], strict=True):
        np.testing.assert_array_equal(left, right)
    assert any(np.any(a != b) for a, b in zip(weights[0], weights[2], strict=True))
    assert list(factory.named_variables(first)) == list(factory.named_variables(second))


@pytest.mark.usefixtures("zero_weights")
def test_names_of_variables_are_the_same_in_every_process():
    """Keras numbers unnamed layers through a process, from 0 after clear_session."""
    keras.utils.clear_session()
    config = ModelConfig(name="MobileNetV3Small")
    first, second = (
        factory.build_network(config, image_size=32, num_classes=2) for _ in range(2)
    )
    assert list(factory.named_variables(first)) == list(factory.named_variables(second))
    assert [v.path for v in first.variables] != [v.path for v in second.variables]


#: Scaling of pixels as `keras.applications` names it.
MODES = {
    "torch": {},
    "tf": {"pixel_mean": (0.5,) * 3, "pixel_stddev": (0.5,) * 3},
    "caffe": {
        "pixel_mean": (103.939 / 255, 116.779 / 255, 123.68 / 255),
        "pixel_stddev": (1 / 255,) * 3,
        "channel_order": "bgr",
    },
}


@pytest.mark.parametrize("mode", MODES)
def test_pixels_are_scaled_as_keras_scales_them(mode):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    inputs = keras.Input((8, 8, 3), dtype="uint8")
    scaled = resnet_rs.standardize(inputs, ModelConfig(**MODES[mode]))
    found = keras.Model(inputs, scaled)(pixels)
    expected = keras.applications.imagenet_utils.preprocess_input(
        pixels.astype(np.float32), mode=mode
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("name", ["resnet_rs_14", "MobileNet"])
def test_the_scaling_of_pixels_is_part_of_every_network(name):
    config = ModelConfig(name=name, width_multiplier=0.125)
    swapped = dataclasses.replace(config, channel_order="bgr")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    first, second = (
        factory.build_network(config, image_size=32, num_classes=4)
        for config in (config, swapped)
    )
    np.testing.assert_array_equal(first(pixels[..., ::-1]), second(pixels))
    assert not np.array_equal(first(pixels), second(pixels))


@pytest.mark.parametrize("num_classes", [0, 1])
def test_too_few_classes_are_refused(num_classes):
    with pytest.raises(ValueError, match=rf"\b2\b.*\b{num_classes}$"):
        factory.build_network(ModelConfig(), image_size=32, num_classes=num_classes)


def test_an_image_too_small_for_a_network_is_refused():
    config = ModelConfig(name="InceptionV3")
    with pytest.raises(ValueError, match=r"InceptionV3.*75x75"):
        factory.build_network(config, image_size=32, num_classes=2)


@pytest.mark.parametrize(
    "name",
    [
        *("EfficientNetLite0", "EfficientNetV2B0"),
        *(
            pytest.param(name, marks=SLOW)
            for name in variants.KERAS_APPLICATIONS
            if name != "EfficientNetV2B0"
        ),
    ],
)
def test_any_other_network_keeps_the_contract(name):
    model = factory.build_network(
        ModelConfig(name=name), image_size=96, num_classes=3, seed=1
    )
    images = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), np.uint8)
    logits = model(images, training=False)
    assert model.inputs[0].dtype == "uint8"
    assert logits.shape == (2, 3)
    assert logits.dtype == tf.float32
    assert np.all(np.isfinite(logits))
    assert not np.allclose(np.sum(logits, axis=-1), 1.0)  # Logits, no probabilities.
    assert flops.count_multiply_adds(model) > 1e6
    keras.utils.clear_session()
