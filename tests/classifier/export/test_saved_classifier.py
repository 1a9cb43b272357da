"""What is exported, and that classifiers of earlier versions open."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from classifier.data import preprocessing
from classifier.export import facts
from classifier.export.facts import MODEL, read_facts
from classifier.export.saved_classifier import load_network, rebuild_network
from classifier.export.saved_model import read_ensemble_facts
from classifier.models.config import ModelConfig
from classifier.models.factory import build_network, is_weight, named_variables
from classifier.models.resnet_rs import GroupedBatchNormalization, StochasticDepth
from tests.commands import ROOT
from tests.conftest import export
from tests.images import random_images

#: Trained, exported and evaluated before `classifier.resnet_rs` became
#: `classifier.models.resnet_rs`.
OLD = ROOT / "tests" / "data" / "classifier_before_move"
OLD_ANSWERS = OLD.with_name("classifier_before_move_probabilities.json")


@pytest.fixture(scope="module")
def images():
    return tf.constant(random_images(24, 7))


@pytest.fixture(scope="module")
def old_pixels(images):
    image = read_facts(OLD).image
    return preprocessing.evaluation_images(images, image)


def own_layers(model):
    own = (GroupedBatchNormalization, StochasticDepth)
    layers = model._flatten_layers(include_self=False)
    return [type(layer).__name__ for layer in layers if isinstance(layer, own)]


def test_a_network_saved_under_a_former_module_path_opens(old_pixels):
    network = load_network(OLD / MODEL)
    names = own_layers(network)
    assert names.count("GroupedBatchNormalization") == 20
    assert names.count("StochasticDepth") == 4
    probabilities = keras.ops.softmax(network(old_pixels, training=False))
    expected = json.loads(OLD_ANSWERS.read_text())["probabilities"]
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)


def test_its_saved_model_gives_the_same_logits(images, old_pixels):
    (facts,) = read_ensemble_facts([OLD])
    assert facts.class_names == ("a", "b", "c")
    served = tf.saved_model.load(str(OLD / "export")).signatures["serving_default"]
    network = load_network(OLD / MODEL)
    np.testing.assert_allclose(
        served(encoded=images)["logits"],
        network(old_pixels, training=False),
        rtol=1e-5,
        atol=1e-6,
    )


def test_its_weights_load_into_a_new_network():
    settings = json.loads((OLD / "config.json").read_text())["config"]["model"]
    model = build_network(ModelConfig(**settings), image_size=32, num_classes=3)
    model.load_weights(str(OLD / MODEL))
    old = named_variables(load_network(OLD / MODEL))
    for name, variable in named_variables(model).items():
        if is_weight(variable):
            np.testing.assert_array_equal(variable, old[name])


@pytest.mark.parametrize(
    "changes",
    [
        {"interpolation": "bilinear"},
        {"antialias": True},
        {"interpolation": "bilinear", "antialias": True, "crop_fraction": 0.875},
    ],
)
def test_any_preprocessing_is_in_the_graph(changes, config, images, tmp_path):
    recipe = dataclasses.replace(
        config,
        image=dataclasses.replace(config.image, **changes),
        model=dataclasses.replace(config.model, channel_order="bgr"),
    )
    directory, model = export(tmp_path / "network", recipe, seed=1)
    (facts,) = read_ensemble_facts([directory])
    assert facts.image == recipe.image
    pixels = preprocessing.evaluation_images(images, recipe.image)
    expected = model(pixels, training=False)
    served = tf.saved_model.load(str(directory / "export")).signatures
    for logits in (
        served["serving_default"](encoded=images)["logits"],
        rebuild_network(directory)(pixels, training=False),
        load_network(directory / MODEL)(pixels, training=False),
    ):
        np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)
    plain = model(pixels[..., ::-1], training=False)
    assert not np.allclose(plain, expected, rtol=1e-4)


def test_the_keras_file_is_the_same_model(exported, images, config):
    directory, model = exported
    loaded = load_network(directory / MODEL)
    pixels = preprocessing.evaluation_images(images, config.image)
    np.testing.assert_allclose(loaded(pixels), model(pixels), atol=1e-6)


def test_the_three_signatures_agree_with_the_model(exported, config, images):
    directory, model = exported
    signatures = tf.saved_model.load(str(directory / "export")).signatures
    assert set(signatures) == {"serving_default", "preprocess", "pixels"}
    pixels = np.stack([preprocessing.evaluation_image(i, config.image) for i in images])
    expected = model(pixels, training=False)
    found = signatures["preprocess"](images)["pixels"]
    assert found.dtype == tf.uint8
    np.testing.assert_array_equal(found, pixels)
    for logits in (
        signatures["pixels"](found)["logits"],
        signatures["serving_default"](images)["logits"],
    ):
        assert logits.dtype == tf.float32
        np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_the_fingerprint_depends_on_weights_names_and_preprocessing(exported, config):
    directory, _ = exported
    names = ("a", "b", "c")
    expected = read_facts(directory).fingerprint
    weights = load_network(directory / MODEL).get_weights()
    assert facts.fingerprint(config.image, names, weights) == expected
    cropped = dataclasses.replace(config.image, crop_fraction=0.5)
    others = [
        facts.fingerprint(cropped, names, weights),
        facts.fingerprint(config.image, ("a", "c", "b"), weights),
        facts.fingerprint(config.image, names, [*weights[:-1], weights[-1] + 1]),
    ]
    assert len({expected, *others}) == 4
