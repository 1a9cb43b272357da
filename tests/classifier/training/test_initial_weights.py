"""Initial weights of a training: of our classifiers, and of others' files."""

import dataclasses
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from classifier.models import factory
from classifier.models.config import ModelConfig
from classifier.training import initial_weights
from tests.conftest import CLASS_NAMES, export


def weights(model):
    return {v.path: np.array(v) for v in model.variables if v.dtype == "float32"}


def take_over(model, spec, config, *, class_names=CLASS_NAMES, new_head=False):
    _, initial = initial_weights.open_for(config, str(spec), fixed=())
    initial_weights.load(model, initial, class_names=class_names, new_head=new_head)


def test_a_classifier_of_ours_is_taken_over_to_the_bit(exported, config):
    directory, trained = exported
    model = factory.build_network(config.model, image_size=48, num_classes=3, seed=9)
    take_over(model, directory, config)
    for path, value in weights(trained).items():
        np.testing.assert_array_equal(value, weights(model)[path], err_msg=path)


def test_a_classifier_of_other_classes_needs_a_new_head(exported, config):
    directory, trained = exported
    model = factory.build_network(config.model, image_size=32, num_classes=2, seed=9)
    arguments = {"class_names": ("x", "y")}
    with pytest.raises(ValueError, match=r"\b3\b.*\b2\b.*--new_head"):
        take_over(model, directory, config, **arguments)
    take_over(model, directory, config, new_head=True, **arguments)
    assert model.output_shape == (None, 2)
    np.testing.assert_array_equal(
        weights(model)["stem_0_conv/kernel"], weights(trained)["stem_0_conv/kernel"]
    )


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            {"width_multiplier": 0.125},
            r"stem_0_conv/kernel\b.*\(3, 3, 3, 4\).*\(3, 3, 3, 2\)",
        ),
        ({"name": "resnet_rs_17"}, r"resnet_rs_17\b.*--set=model.name=resnet_rs_14\b"),
    ],
)
def test_another_network_than_the_classifiers_is_named(exported, config, change, named):
    model = factory.build_network(
        dataclasses.replace(config.model, **change), image_size=32, num_classes=3
    )
    with pytest.raises(ValueError, match=named):
        take_over(model, exported[0], config)


def test_other_networks_of_ours_are_taken_over_by_position(tmp_path, config):
    other = dataclasses.replace(config, model=ModelConfig(name="MobileNet"))
    directory, trained = export(tmp_path / "other", other, seed=1)
    model = factory.build_network(other.model, image_size=32, num_classes=3)
    take_over(model, directory, config)
    images = tf.constant(
        np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    )
    np.testing.assert_array_equal(
        model(images, training=False), trained(images, training=False)
    )
    assert all(re.match(r"\d{4}/", name) for name in factory.named_variables(model))


def test_a_recipe_takes_the_scaling_of_a_classifier_and_no_more(config, tmp_path):
    scaling = {"channel_order": "bgr", "pixel_mean": (0.1, 0.2, 0.3)}
    other = dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, **scaling),
        image=dataclasses.replace(config.image, antialias=True, size=40),
    )
    directory, _ = export(tmp_path / "other", other, seed=1)
    found, initial = initial_weights.open_for(config, str(directory), fixed=())
    assert found == dataclasses.replace(config, model=other.model)
    line = initial_weights.describe(
        initial_weights.to_json(initial, new_head=False), found
    )
    assert "model.pixel_mean=0.1,0.2,0.3 " in line
    assert "model.channel_order=bgr" in line
    assert "\n" not in line


@pytest.fixture(scope="module")
def mobile_net(tmp_path_factory):
    """The file of a network of Keras's own, and this network."""
    network = keras.applications.MobileNet(
        weights=None, classes=3, input_shape=(32, 32, 3), classifier_activation=None
    )
    path = tmp_path_factory.mktemp("weights") / "mobile_net.weights.h5"
    network.save_weights(path)
    return f"keras_h5:{path}", network


def test_a_recipe_takes_the_preprocessing_of_published_weights(config, mobile_net):
    """Except for what the user has set."""
    recipe = dataclasses.replace(config, model=ModelConfig(name="MobileNet"))
    spec, network = mobile_net
    found, initial = initial_weights.open_for(recipe, spec, fixed=())
    half = (0.5, 0.5, 0.5)
    assert found.model == ModelConfig(
        name="MobileNet", pixel_mean=half, pixel_stddev=half
    )
    assert found.image == dataclasses.replace(
        recipe.image, crop_fraction=0.875, interpolation="bilinear"
    )
    model = factory.build_network(found.model, image_size=32, num_classes=3)
    initial_weights.load(model, initial, class_names=CLASS_NAMES, new_head=False)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    expected = network(pixels / np.float32(127.5) - 1, training=False)
    np.testing.assert_allclose(model(pixels, training=False), expected, atol=1e-6)
    said = initial_weights.to_json(initial, new_head=False)
    assert said["origin"]["file"] == "mobile_net.weights.h5"
    assert said["fingerprint"] == initial.weights.fingerprint
    fixed = {"model.pixel_mean", "image.crop_fraction", "image.interpolation"}
    kept, _ = initial_weights.open_for(recipe, spec, fixed=fixed)
    assert kept.model == ModelConfig(name="MobileNet", pixel_stddev=half)
    assert kept.image == recipe.image


def test_a_recipe_without_initial_weights_stays_as_it_is(config):
    assert initial_weights.open_for(config, None, fixed=()) == (config, None)


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ("keras:imagenett", "keras:imagenet or keras_h5:PATH, got 'keras:imagenett'"),
        ("keras:imagenet", "resnet_rs_14.*--set=model.name="),
        ("keras_h5:{path}", "resnet_rs_14.*--set=model.name="),
        ("hf:resnet", "hf:OWNER/NAME"),
        ("safetensors:{path}.no", r"safetensors:.*\.no: no such file"),
        ("safetensors:", "safetensors:: expected a file, got a directory"),
        ("{path}", "expected the directory of a classifier, or hf:OWNER/NAME, safe"),
        ("onnx:{path}", "expected the directory of a classifier, or hf:OWNER/NAME"),
    ],
)
def test_weights_that_cannot_be_opened_say_what_to_do(config, mobile_net, spec, named):
    path = mobile_net[0].removeprefix("keras_h5:")
    with pytest.raises((ValueError, OSError), match=named) as error:
        initial_weights.open_for(config, spec.format(path=path), fixed=())
    assert "\n" not in str(error.value)
