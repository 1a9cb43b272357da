"""Features of SavedModels, beside TensorFlow and Keras on the same network."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf

from classifier.export.facts import read_facts
from classifier.export.head import read_head
from classifier.export.saved_model import embedding_size, read_ensemble_facts
from classifier.features.opening import open_features
from classifier.inference.engine import Engine
from classifier.inference.ensemble import Classifier
from tests.classifier.features import saved_models
from tests.classifier.features.probes import export, make_head
from tests.images import random_images

MEAN, STDDEV = np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225))


@pytest.fixture(scope="module")
def images():
    return random_images(9, 3)


@pytest.fixture(scope="module")
def network():
    """A small transformer over patches, as a Keras model from images to vectors."""
    random.seed(3)  # Keras draws its seeds from it.
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(8, 8, 8)(inputs)
    x = keras.layers.Reshape((16, 8))(x)
    x = x + keras.layers.MultiHeadAttention(2, 4)(x, x)
    x = keras.layers.Dense(8, "gelu")(keras.layers.LayerNormalization()(x))
    return keras.Model(inputs, keras.layers.GlobalAveragePooling1D()(x))


@pytest.fixture(scope="module")
def directory(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "network"
    network.export(str(path), verbose=False)
    return path


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_features_are_what_keras_gives(network, directory, images):
    lines = []
    source = open_features(f"saved_model:{directory}", log=lines.append)
    assert "pixel_mean=0.485,0.456,0.406" in lines[0]
    assert (source.size, source.image.size) == (8, 32)
    extractor = source.load()
    pixels = extractor.preprocess(images)
    expected = network.predict(((pixels / 255 - MEAN) / STDDEV), verbose=0)
    close(extractor(pixels), expected)
    np.testing.assert_array_equal(extractor(pixels[4:5])[0], extractor(pixels)[4])


@pytest.mark.parametrize("normalize", [False, True])
def test_a_classifier_is_features_and_head(directory, images, tmp_path, normalize):
    source = open_features(f"saved_model:{directory}")
    head = make_head(source.size, normalize=normalize)
    export(source, tmp_path / "probe", head)
    (facts,) = read_ensemble_facts([tmp_path / "probe"])
    assert (facts.network, facts.features) == ("saved_model", source.fingerprint)
    assert embedding_size(tmp_path / "probe") == 8
    pixels = source.load().preprocess(images)
    features = source.load()(pixels)
    expected = features
    if normalize:
        expected = features / np.linalg.norm(features, axis=1, keepdims=True)
    expected = expected @ head.kernel + head.bias
    for engine in (None, Engine("openvino")):
        classifier = Classifier(tmp_path / "probe", engine, embeddings=True)
        np.testing.assert_array_equal(classifier.preprocess(images), pixels)
        logits, embedding = classifier.outputs(pixels)
        np.testing.assert_allclose(embedding, features, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(
        read_head(tmp_path / "probe", facts).kernel, head.kernel
    )


def test_a_classifier_is_a_source_again(directory, images, tmp_path):
    source = open_features(f"saved_model:{directory}")
    export(source, tmp_path / "first", make_head(8))
    again = open_features(str(tmp_path / "first"))
    assert again.fingerprint == source.fingerprint
    pixels = source.load().preprocess(images)
    close(again.load()(pixels), source.load()(pixels))
    export(again, tmp_path / "second", make_head(8, normalize=True))
    (facts,) = read_ensemble_facts([tmp_path / "second"])
    assert facts.features == source.fingerprint
    cropped = open_features(str(tmp_path / "first"), ["image.crop_fraction=0.5"])
    assert cropped.fingerprint != source.fingerprint


def test_weights_of_another_classifier_are_refused(directory, tmp_path):
    source = open_features(f"saved_model:{directory}")
    export(source, tmp_path / "first", make_head(8))
    facts = read_facts(tmp_path / "first")
    path = tmp_path / "first" / "export" / "variables" / "variables.data-00000-of-00001"
    content = bytearray(path.read_bytes())
    content[7] ^= 1
    path.write_bytes(content)
    assert facts.network == "saved_model"
    with pytest.raises(ValueError, match="variables"):
        read_ensemble_facts([tmp_path / "first"])


def test_axes_can_be_in_another_order_and_the_size_open(tmp_path, images):
    spec = saved_models.write(
        tmp_path / "network",
        lambda images, weight: {
            "map": images,
            "other": tf.reduce_mean(images, [2, 3]) @ weight,
            "vector": tf.reduce_max(images, [2, 3]),
        },
        tf.TensorSpec([None, 3, None, None], tf.float32),
    )
    with pytest.raises(ValueError, match=r"--set=image\.size=224"):
        open_features(spec)
    with pytest.raises(ValueError, match=r"one output \[N,D\]"):
        open_features(spec, ["image.size=40"])
    settings = ["image.size=40", "channel_order=bgr", "pixel_mean=0,0,0"]
    source = open_features(spec, [*settings, "output=other", "pixel_stddev=1,1,1"])
    extractor = source.load()
    pixels = extractor.preprocess(images)
    means = pixels[..., ::-1].mean(axis=(1, 2)) / 255
    close(extractor(pixels), means @ saved_models.WEIGHT)
    pooled = open_features(spec, [*settings, "output=map", "pooling=mean"])
    close(pooled.load()(pixels), ((means * 1.0) / STDDEV))


def test_what_is_no_network_of_images_is_refused(tmp_path, directory):
    with pytest.raises(FileNotFoundError):
        open_features(f"saved_model:{tmp_path}/none")
    with pytest.raises(ValueError, match="is no SavedModel"):
        open_features(f"saved_model:{tmp_path}")
    with pytest.raises(ValueError, match="images of 32 pixels"):
        open_features(f"saved_model:{directory}", ["image.size=64"])
    spec = saved_models.write(
        tmp_path / "text",
        lambda words, weight: {"y": tf.cast(words, tf.float32) @ tf.transpose(weight)},
        tf.TensorSpec([None, 2], tf.int64),
    )
    with pytest.raises(ValueError, match="expected an input of images"):
        open_features(spec)
    one = tf.TensorSpec([1, 40, 40, 3], tf.float32)
    spec = saved_models.write(tmp_path / "fixed", spec=one)
    with pytest.raises(ValueError, match="any number of images"):
        open_features(spec)


def test_a_graph_that_reads_files_is_not_loaded(tmp_path, monkeypatch):
    hostile = saved_models.mean_colors_and_a_file
    spec = saved_models.write(tmp_path / "hostile", hostile)
    monkeypatch.setattr(tf.saved_model, "load", lambda *_, **__: pytest.fail("loaded"))
    with pytest.raises(ValueError, match="'ReadFile'"):
        open_features(spec)
