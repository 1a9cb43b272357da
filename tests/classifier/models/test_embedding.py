import dataclasses

import keras
import numpy as np
import pytest

from classifier.models.config import ModelConfig
from classifier.models.embedding import (
    EMBEDDING,
    LOGITS,
    embedding_content,
    with_embedding,
)
from classifier.models.factory import build_network


def last_weights(model):
    """Kernel [D,K] and bias [K] of the last layer that has weights."""
    *_, kernel, bias = model.get_weights()
    return kernel.reshape(-1, kernel.shape[-1]), bias


@pytest.mark.parametrize(
    "name", ["resnet_rs_14", "EfficientNetLite0", "MobileNet", "ResNet50V2"]
)
def test_the_last_layer_makes_the_logits_of_the_embedding(name):
    model = build_network(ModelConfig(name=name), image_size=32, num_classes=3)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    outputs = with_embedding(model)(pixels, training=False)
    embedding, logits = np.asarray(outputs[EMBEDDING]), np.asarray(outputs[LOGITS])
    kernel, bias = last_weights(model)
    assert embedding.dtype == logits.dtype == np.float32
    assert embedding.shape == (4, len(kernel))
    np.testing.assert_allclose(embedding @ kernel + bias, logits, atol=1e-5)
    expected = np.asarray(model(pixels, training=False))
    np.testing.assert_array_equal(logits, expected)


def test_features_that_are_not_pooled_are_no_embedding(monkeypatch):
    def build(weights, input_shape, classes, classifier_activation):
        inputs = keras.Input(input_shape)
        maps = keras.layers.Conv2D(classes, 3)(inputs)
        return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(maps))

    monkeypatch.setattr(keras.applications, "MobileNet", build)
    model = build_network(ModelConfig(name="MobileNet"), image_size=8, num_classes=3)
    assert set(with_embedding(model).output) == {LOGITS}


@pytest.mark.parametrize("name", ["resnet_rs_14", "MobileNet"])
def test_the_scaling_of_pixels_is_part_of_what_makes_an_embedding(name):
    config = ModelConfig(name=name, width_multiplier=0.125)
    scaled = (
        {},
        {"channel_order": "bgr"},
        {"pixel_mean": (0.5,) * 3},
        {"pixel_stddev": (0.5,) * 3},
    )
    contents = {
        b"".join(embedding_content(network))
        for network in (
            build_network(
                dataclasses.replace(config, **change), image_size=32, num_classes=2
            )
            for change in scaled
        )
    }
    assert len(contents) == len(scaled)
