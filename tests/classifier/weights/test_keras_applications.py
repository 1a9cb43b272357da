"""Networks of Keras, with random weights in both of its formats."""

import importlib
import re

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format
from keras.src.utils import file_utils

from classifier.models import factory, variants
from classifier.models.config import IMAGENET_MEAN, IMAGENET_STDDEV
from classifier.weights import keras_applications, opening, published
from stage import licenses

SLOW = pytest.mark.slow
NUM_CLASSES = 10
#: The smallest network of each family, the side of its images, and where its
#: `preprocess_input` is.
FAMILIES = {
    "ConvNeXtTiny": (64, "convnext"),
    "DenseNet121": (64, "densenet"),
    "EfficientNetB0": (64, "efficientnet"),
    "EfficientNetV2B0": (64, "efficientnet_v2"),
    "EfficientNetV2S": (64, "efficientnet_v2"),
    "InceptionResNetV2": (75, "inception_resnet_v2"),
    "InceptionV3": (75, "inception_v3"),
    "MobileNet": (64, "mobilenet"),
    "MobileNetV2": (64, "mobilenet_v2"),
    "MobileNetV3Small": (64, "mobilenet_v3"),
    "NASNetMobile": (224, "nasnet"),
    "ResNet50": (64, "resnet"),
    "ResNet50V2": (64, "resnet_v2"),
    "VGG16": (32, "vgg16"),
    "VGG19": (32, "vgg19"),
    "Xception": (71, "xception"),
}
#: Networks of three ways to scale pixels; the others are built in the slow tests.
FAST = ("EfficientNetB0", "MobileNetV2", "ResNet50")


def build(name, *, weights=None, **options):
    size = FAMILIES[name][0]
    options = {"classes": NUM_CLASSES, "input_shape": (size, size, 3), **options}
    return getattr(keras.applications, name)(
        weights=weights, classifier_activation=None, **options
    )


def randomize(name, network, variance=(0.3, 0.2, 0.1)):
    """Gives a network of Keras random weights, statistics included.

    Statistics are those of images, moved at random, and the head makes logits near 1:
    otherwise activations vanish or grow. `variance` is that of a network that scales
    pixels by weights of its own.
    """
    rng = np.random.default_rng(0)
    for variable in network.weights:
        kind, shape = variable.path.rpartition("/")[2], tuple(variable.shape)
        if kind == "count":
            continue
        if "kernel" in kind:
            inputs = shape[:2] if "depthwise" in kind else shape[:-1]
            value = rng.normal(0, np.sqrt(2 / np.prod(inputs)), shape)
        elif kind in ("gamma", "variance"):
            value = rng.uniform(0.5, 1.5, shape)
        else:
            value = rng.uniform(-0.2, 0.2, shape)
        variable.assign(value)
    for layer in network.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            layer.adapt_mean.assign(IMAGENET_MEAN)
            layer.adapt_variance.assign(variance)
            layer.finalize_state()
    normalizations = [
        layer
        for layer in network.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    for layer in normalizations:
        layer.momentum = 0.0
    network(preprocess(name, images(network.input_shape[1], count=8)), training=True)
    for layer in normalizations:
        spread = np.sqrt(layer.moving_variance)
        moved = layer.moving_mean + rng.uniform(-0.2, 0.2, spread.shape) * spread
        layer.moving_mean.assign(moved)
        layer.moving_variance.assign(spread**2 * rng.uniform(1.0, 1.5, spread.shape))
    kernel, bias = network.trainable_variables[-2:]
    kernel.assign(kernel / np.std(expected_logits(name, network) - bias))
    return network


def images(size, count=2):
    """Pixels of squares of random colors, which features tell apart."""
    colors = np.random.default_rng(1).integers(0, 256, (count, 8, 8, 3), np.uint8)
    places = np.arange(size) * 8 // size
    return colors[:, places][:, :, places]


def preprocess(name, pixels):
    module = importlib.import_module(f"keras.applications.{FAMILIES[name][1]}")
    return module.preprocess_input(pixels.astype(np.float32))


def expected_logits(name, network):
    """Logits of a network of Keras behind its own preprocessing."""
    pixels = preprocess(name, images(network.input_shape[1]))
    return np.asarray(network(pixels, training=False))


def save(network, path):
    """Writes the weights as Keras 3 does, or to any other name as Keras 2 did."""
    if path.name.endswith(".weights.h5"):
        network.save_weights(path)
    else:
        with h5py.File(path, "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, network)
    return path


def our_logits(weights, size, *, num_classes=NUM_CLASSES):
    model = factory.build_network(
        weights.model, image_size=size, num_classes=num_classes
    )
    published.assign(model, weights)
    return np.asarray(model(images(size), training=False))


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in FAST else SLOW) for name in FAMILIES],
)
def test_every_family_gives_kerass_logits(name, tmp_path):
    network = randomize(name, build(name))
    expected = expected_logits(name, network)
    assert 0.01 < np.abs(expected[0] - expected[1]).max() < 5
    for file in ("network.weights.h5", "network.h5"):
        path = save(network, tmp_path / file)
        weights = opening.open_weights(f"keras_h5:{path}", name=name)
        assert weights.origin["file"] == file
        np.testing.assert_allclose(
            our_logits(weights, FAMILIES[name][0]), expected, atol=1e-4
        )
    keras.utils.clear_session()


def test_every_network_has_a_preprocessing():
    for name in variants.KERAS_APPLICATIONS:
        model, image = keras_applications.preprocessing(name)
        assert model.name == name
        assert image.size >= 224


@pytest.mark.slow
@pytest.mark.parametrize("name", variants.KERAS_APPLICATIONS)
@pytest.mark.usefixtures("zero_weights")
def test_the_size_is_kerass_default(name):
    network = getattr(keras.applications, name)(weights=None)
    _, image = keras_applications.preprocessing(name)
    assert network.input_shape[1] in (image.size, None)
    keras.utils.clear_session()


@pytest.fixture(scope="module")
def published_efficientnet(tmp_path_factory):
    """A file like that of EfficientNet: deviations in the place of variances."""
    name = "EfficientNetB0"
    network = build(name, classes=1000, input_shape=(224, 224, 3))
    randomize(name, network, variance=IMAGENET_STDDEV)
    return save(network, tmp_path_factory.mktemp("published") / "efficientnetb0.h5")


def test_the_published_efficientnet_divides_twice(published_efficientnet, monkeypatch):
    """As Keras does for `weights="imagenet"`, and for no other file."""
    monkeypatch.setattr(
        file_utils, "get_file", lambda *_, **__: str(published_efficientnet)
    )
    name = "EfficientNetB0"
    shape = (224, 224, 3)
    network = build(name, weights="imagenet", classes=1000, input_shape=shape)
    weights = opening.open_weights("keras:imagenet", name=name)
    np.testing.assert_allclose(weights.model.pixel_mean, IMAGENET_MEAN)
    np.testing.assert_allclose(
        weights.model.pixel_stddev, np.float32(IMAGENET_STDDEV) / 255, rtol=1e-6
    )
    np.testing.assert_allclose(
        our_logits(weights, 224, num_classes=1000),
        expected_logits(name, network),
        atol=1e-4,
    )
    assert weights.origin["file"] == "efficientnetb0.h5"
    assert weights.origin["url"].endswith("/efficientnetb0.h5")
    assert "license" not in weights.origin  # Keras states none.


def test_published_weights_have_the_license_that_keras_states(monkeypatch, tmp_path):
    path = save(build("MobileNet", classes=1000), tmp_path / "mobilenet.h5")
    monkeypatch.setattr(file_utils, "get_file", lambda *_, **__: str(path))
    weights = opening.open_weights("keras:imagenet", name="MobileNet")
    assert weights.origin["license"] == "Apache-2.0"
    (origin,) = licenses.trace("keras:MobileNet", weights.origin)
    assert (origin.license, origin.stated_by) == ("Apache-2.0", "publisher")
    # A file of somebody else may be anything.
    given = opening.open_weights(f"keras_h5:{path}", name="MobileNet")
    assert "license" not in given.origin


def test_without_a_network_the_file_to_fetch_is_named(monkeypatch, tmp_path):
    """Keras's own download, of an address that nothing answers at."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(file_utils, "urlretrieve", unreachable)
    with pytest.raises(OSError) as error:
        opening.open_weights("keras:imagenet", name="MobileNet")
    (line,) = str(error.value).splitlines()
    assert "MobileNet cannot be downloaded" in line
    assert re.search(
        r"fetch https://\S+/mobilenet_1_0_224_tf\.h5, .*keras_h5:PATH.*no route", line
    )
    assert file_utils.get_file.__module__ == file_utils.__name__


def unreachable(*_):
    raise file_utils.urllib.error.URLError("no route to host")


def test_a_file_without_a_head_needs_a_new_one(tmp_path):
    name = "MobileNetV2"
    headless = build(name, include_top=False, pooling="avg")
    for file in ("headless.weights.h5", "headless.h5"):
        path = save(headless, tmp_path / file)
        weights = opening.open_weights(f"keras_h5:{path}", name=name)
        model = factory.build_network(weights.model, image_size=64, num_classes=3)
        with pytest.raises(ValueError, match=r"\(1280, 3\).*none.*--new_head"):
            published.assign(model, weights)
        published.assign(model, weights, new_head=True)
        taken = model.get_layer("mobilenetv2_1.00_64").get_layer("Conv1").get_weights()
        np.testing.assert_array_equal(
            taken[0], headless.get_layer("Conv1").get_weights()[0]
        )


@pytest.mark.parametrize("file", ["other.weights.h5", "other.h5"])
def test_a_file_of_another_network_names_the_tensor(file, tmp_path):
    path = save(build("MobileNet"), tmp_path / file)
    weights = opening.open_weights(f"keras_h5:{path}", name="MobileNetV2")
    model = factory.build_network(weights.model, image_size=64, num_classes=NUM_CLASSES)
    with pytest.raises(ValueError, match=r"other\S*h5: expected \S+ of shape") as error:
        published.assign(model, weights)
    assert "MobileNetV2" in str(error.value)
    with pytest.raises(ValueError, match="mean and positive variance"):
        opening.open_weights(f"keras_h5:{path}", name="EfficientNetB0")


def test_a_list_of_layers_that_are_not_there_is_refused(tmp_path):
    path = save(build("MobileNet"), tmp_path / "network.h5")
    with h5py.File(path, "a") as file:
        del file["conv1/conv1/kernel"]
    with pytest.raises(ValueError, match=r"network\.h5: .*conv1/conv1/kernel"):
        opening.open_weights(f"keras_h5:{path}", name="MobileNet")
    with h5py.File(path, "a") as file:
        del file["conv1"]
        file["conv1"] = h5py.ExternalLink("other.h5", "/")
    with pytest.raises(ValueError, match=r"network\.h5: .*conv1"):
        opening.open_weights(f"keras_h5:{path}", name="MobileNet")
