"""Features of published weights, beside Keras on the same file."""

import random

import keras
import numpy as np
import pytest

from classifier.export.facts import read_facts
from classifier.export.saved_classifier import rebuild_network
from classifier.features.opening import open_features
from tests.classifier.features.probes import export, make_head
from tests.images import random_images

SIDE = 64


@pytest.fixture(scope="module")
def network():
    """A network of Keras, and the file with its weights."""
    random.seed(1)  # Keras draws its seeds from it.
    return keras.applications.MobileNetV2(
        weights=None, input_shape=(SIDE, SIDE, 3), classes=7
    )


@pytest.fixture(scope="module")
def source(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "mobile.weights.h5"
    network.save_weights(path)
    return open_features(f"keras_h5:MobileNetV2:{path}", [f"image.size={SIDE}"])


def test_features_are_what_keras_gives(network, source):
    extractor = source.load()
    pixels = extractor.preprocess(random_images(3, 1))
    scaled = keras.applications.mobilenet_v2.preprocess_input(pixels.astype(np.float32))
    features = keras.Model(network.input, network.layers[-1].input)
    expected = features.predict(scaled, verbose=0)
    assert source.size == expected.shape[1]
    np.testing.assert_allclose(extractor(pixels), expected, rtol=1e-3, atol=1e-5)
    assert source.image.interpolation == "bilinear"


def test_a_classifier_with_them_can_be_trained_further(source, tmp_path):
    head = make_head(source.size)
    export(source, tmp_path, head)
    facts = read_facts(tmp_path)
    assert (facts.network, facts.features) == ("keras", source.fingerprint)
    extractor = source.load()
    pixels = extractor.preprocess(random_images(3, 1))
    rebuilt = rebuild_network(tmp_path)(pixels, training=False)
    expected = extractor(pixels) @ head.kernel + head.bias
    np.testing.assert_allclose(rebuilt, expected, rtol=1e-3, atol=1e-4)
    assert open_features(str(tmp_path)).fingerprint == source.fingerprint


@pytest.mark.parametrize(
    "spec", ["keras_h5:MobileNetV2", "torch:x", "onnx:", "hf:nobody", "keras:ResNet5"]
)
def test_what_is_no_source_is_refused(spec):
    with pytest.raises(ValueError, match=spec.partition(":")[0]):
        open_features(spec)


@pytest.mark.parametrize("kind", ["safetensors", "resnet_rs_h5", "keras_h5:ResNet50"])
def test_a_file_that_is_not_there_is_named(kind, tmp_path):
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        open_features(f"{kind}:{tmp_path}/none")


@pytest.mark.parametrize(
    "kind",
    [
        *("", "onnx:", "saved_model:", "safetensors:", "resnet_rs_h5:"),
        "keras_h5:ResNet50:",
    ],
)
def test_an_address_is_no_path(kind):
    with pytest.raises(OSError, match="cannot be reached: no file system"):
        open_features(f"{kind}https://a.b/c")


def test_a_file_without_its_kind_is_refused(tmp_path):
    (tmp_path / "features.onnx").write_bytes(b"")
    with pytest.raises(ValueError, match=r"onnx:PATH.*got the file .*features\.onnx"):
        open_features(str(tmp_path / "features.onnx"))
