import dataclasses
import functools
import importlib.util
import json
import shutil
import zipfile

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf

from classifier.export import saved_model
from classifier.inference import conversion
from classifier.models.config import ModelConfig
from classifier.models.factory import build_network
from tests import calibrations
from tests.conftest import CLASS_NAMES, export

OUTPUTS = ("network.keras", "network.onnx", "network")


@pytest.fixture(scope="module", autouse=True)
def share_networks(loaders):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversion, "NetworkLoader", loaders[0])
        yield


@pytest.fixture(scope="module")
def places(exported, tmp_path_factory):
    """The network in each format, by name."""
    root = tmp_path_factory.mktemp("converted") / "deeper" / "still"
    for name in OUTPUTS:
        agreement = conversion.export(exported[0], str(root / name))
        assert agreement.is_close, name
    assert sorted(path.name for path in root.iterdir()) == sorted(OUTPUTS)
    return {name: root / name for name in OUTPUTS}


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(1).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)


@functools.cache
def load(path):
    """Loads a network with the library of its format alone."""
    if path.suffix == ".keras":
        return keras.saving.load_model(path)
    if path.suffix == ".onnx":
        session = onnxruntime.InferenceSession(path)
        return lambda pixels: session.run(None, {"pixels": pixels})[0]
    loaded = tf.saved_model.load(str(path))

    def run(pixels):
        return loaded.signatures["pixels"](pixels=tf.constant(pixels))["logits"]

    return run


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("count", [1, 5])
def test_every_format_gives_the_models_logits(places, exported, pixels, name, count):
    expected = np.asarray(exported[1](pixels[:count], training=False))
    found = np.asarray(load(places[name])(pixels[:count]))
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def test_scaling_of_pixels_and_own_temperature_are_exported(config, pixels, tmp_path):
    scaling = {"channel_order": "bgr", "pixel_mean": (0.4, 0.5, 0.6)}
    recipe = dataclasses.replace(
        config, model=dataclasses.replace(config.model, **scaling)
    )
    directory, model = export(tmp_path / "classifier", recipe, seed=1)
    calibrations.write_own(directory, 3.0)
    expected = np.asarray(model(pixels, training=False))
    for name in OUTPUTS:
        conversion.export(directory, str(tmp_path / name))
        found = np.asarray(load(tmp_path / name)(pixels))
        assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max(), name
    network = onnx.load(tmp_path / "network.onnx")
    facts = {entry.key: entry.value for entry in network.metadata_props}
    assert float(facts["temperature"]) == 3.0


def test_the_onnx_file_explains_itself(places, config):
    model = onnx.load(places["network.onnx"])
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(facts["class_names"]) == list(CLASS_NAMES)
    assert facts["image_size"] == "32"
    assert float(facts["crop_fraction"]) == config.image.crop_fraction
    assert float(facts["temperature"]) == 1.0
    assert len(facts["fingerprint"]) == 64
    (pixels,), (logits,) = model.graph.input, model.graph.output
    assert (pixels.name, logits.name) == ("pixels", "logits")
    shapes = [
        [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (pixels, logits)
    ]
    assert shapes == [["batch", 32, 32, 3], ["batch", 3]]


def test_the_onnx_file_is_of_onnxs_own_operators(places):
    model = onnx.load(places["network.onnx"])
    assert {node.domain for node in model.graph.node} == {""}
    (version,) = [opset.version for opset in model.opset_import if opset.domain == ""]
    assert version == conversion.OPSET


def test_the_keras_file_is_of_kerass_own_layers(places, exported):
    def described(path):
        with zipfile.ZipFile(path) as file:
            return file.read("config.json").decode()

    assert "StochasticDepth" in described(exported[0] / "model.keras")
    layers = described(places["network.keras"])
    assert "StochasticDepth" not in layers
    assert '"classifier' not in layers


def test_own_layers_become_kerass_with_the_same_weights(config, pixels):
    model = build_network(
        dataclasses.replace(config.model, batch_norm_groups=2),
        image_size=32,
        num_classes=3,
        seed=3,
    )
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.5, 1, w.shape) for w in model.get_weights()])
    plain = conversion.without_own_layers(model)
    np.testing.assert_array_equal(
        plain(pixels, training=False), model(pixels, training=False)
    )
    modules = {type(layer).__module__.partition(".")[0] for layer in _flat(plain)}
    assert modules == {"keras"}


def _flat(model):
    for layer in model.layers:
        yield from _flat(layer) if isinstance(layer, keras.Model) else [layer]


def test_the_saved_model_is_the_classifiers_own(places, exported):
    signatures = tf.saved_model.load(str(places["network"])).signatures
    assert set(signatures) == {"serving_default", "preprocess", "pixels"}
    facts = (places["network"] / "assets.extra" / "classifier.json").read_text()
    assert facts == (exported[0] / "classifier.json").read_text()


def test_a_file_of_another_network_is_refused_and_not_left(exported, config, tmp_path):
    shutil.copytree(exported[0], tmp_path / "classifier")
    other = build_network(config.model, image_size=32, num_classes=3, seed=9)
    other.save(tmp_path / "classifier" / "model.keras")
    with pytest.raises(ValueError, match=r"model\.keras: .* restore"):
        conversion.export(tmp_path / "classifier", str(tmp_path / "out" / "a.keras"))
    assert not (tmp_path / "out").exists()


def test_a_network_that_onnx_cannot_hold_is_refused(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(saved_model, "check_operations", lambda graph, export: None)
    shutil.copytree(exported[0], tmp_path / "classifier")
    shutil.rmtree(tmp_path / "classifier" / "export")

    @tf.function(input_signature=[tf.TensorSpec([None, 32, 32, 3], tf.uint8)])
    def pixels(pixels):
        means = tf.reduce_mean(tf.cast(pixels, tf.float32), axis=(1, 2))
        return {"logits": tf.math.special.dawsn(means)}

    module = tf.Module()
    tf.saved_model.save(
        module, str(tmp_path / "classifier" / "export"), signatures={"pixels": pixels}
    )
    with pytest.raises(ValueError, match=r"ONNX.*: No Op regis"):
        conversion.export(tmp_path / "classifier", str(tmp_path / "a.onnx"))
    assert [path.name for path in tmp_path.iterdir()] == ["classifier"]


def test_an_output_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    (tmp_path / "there.keras").touch()
    for name, message in (
        ("there.keras", r"there\.keras"),
        ("a.h5", r"a\.h5"),
    ):
        with pytest.raises(ValueError, match=message):
            conversion.check_output(str(tmp_path / name))
    for name in ("a.keras", "a.onnx", "a", "a.b/"):
        conversion.check_output(f"{tmp_path}/{name}")
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    conversion.check_output(str(tmp_path / "a.keras"))
    with pytest.raises(ValueError, match=r"pip install .*\[onnx\]"):
        conversion.check_output(str(tmp_path / "a.onnx"))


LOGITS = np.array([[1, 5, 2], [-10, 0, 3]], np.float32)


@pytest.mark.parametrize(
    ("change", "is_close"),
    [
        (0.0, True),
        (9e-4, True),  # Of logits up to ten.
        (1.1e-3, False),
        (np.inf, False),
        (np.nan, False),
    ],
)
def test_close_is_a_share_of_the_largest_logit(change, is_close):
    found = LOGITS.copy()
    found[1, 0] += change
    agreement = conversion.compare(LOGITS, found)
    assert agreement.is_close == is_close
    assert (agreement.num_images, agreement.scale) == (2, 10)


def test_another_top_class_is_never_close():
    expected = np.array([[1.0, 1.0 + 1e-6]], np.float32)
    agreement = conversion.compare(expected, expected[:, ::-1])
    assert agreement.difference <= conversion.TOLERANCE
    assert (agreement.num_same, agreement.is_close) == (0, False)


@pytest.mark.parametrize("size", [32, 160, 225])
def test_the_images_go_from_one_color_to_noise(size):
    pixels = conversion.sample_pixels(size)
    assert pixels.shape == (conversion.NUM_IMAGES, size, size, 3)
    assert pixels.dtype == np.uint8
    colors = [len(np.unique(image.reshape(-1, 3), axis=0)) for image in pixels]
    assert colors[0] == 1
    assert colors == sorted(colors)
    assert colors[-1] > 0.95 * size**2
    np.testing.assert_array_equal(conversion.sample_pixels(size), pixels)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet_rs_50", "MobileNetV3Small"])
def test_other_networks_can_be_converted(name, config, tmp_path):
    model = ModelConfig(name=name, width_multiplier=0.0625)
    other = dataclasses.replace(config, model=model)
    directory, _ = export(tmp_path / "classifier", other, seed=4)
    for output in OUTPUTS:
        assert conversion.export(directory, str(tmp_path / output)).is_close
