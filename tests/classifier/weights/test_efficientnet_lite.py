import json

import numpy as np
import pytest
import safetensors.numpy

from classifier.models.factory import build_network
from classifier.weights import opening, published
from tests.classifier.weights import lite_reference as reference

RECORDED = json.loads(reference.PATH.read_text())
LITE0, LITE4 = reference.NETWORKS
#: What timm writes beside the weights of its second network.
CONFIG = {
    "architecture": LITE4,
    "num_classes": 1000,
    "pretrained_cfg": {
        "input_size": [3, 380, 380],
        "interpolation": "bilinear",
        "crop_pct": 0.92,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "license": "apache-2.0",
    },
}


def write(directory, name, **changed):
    """Writes weights of timm's network, and returns what opens them."""
    weights = reference.draw_weights(RECORDED[name]["tensors"]) | changed
    weights["bn1.num_batches_tracked"] = np.array(0)
    path = directory / "model.safetensors"
    safetensors.numpy.save_file(weights, path)
    return f"safetensors:{path}"


@pytest.mark.parametrize(
    ("name", "size"),
    [
        (LITE0, 75),
        pytest.param(LITE0, 64, marks=pytest.mark.slow),
        pytest.param(LITE4, 64, marks=pytest.mark.slow),
        pytest.param(LITE4, 75, marks=pytest.mark.slow),
    ],
)
def test_logits_are_those_of_timm(tmp_path, name, size):
    weights = opening.open_weights(write(tmp_path, name))
    assert weights.model.name == f"EfficientNetLite{name[-1]}"
    network = build_network(
        weights.model, image_size=size, num_classes=reference.NUM_CLASSES
    )
    published.assign(network, weights)
    logits = network(reference.draw_pixels(size), training=False)
    expected = RECORDED[name]["logits"][str(size)]
    assert np.std(expected) > 0.5
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_the_preprocessing_is_that_of_the_authors(tmp_path):
    """(x - 127) / 128, the central 224 of 256 pixels."""
    weights = opening.open_weights(write(tmp_path, LITE0))
    assert weights.model.pixel_mean == (127 / 255,) * 3
    assert weights.model.pixel_stddev == (128 / 255,) * 3
    assert (weights.image.size, weights.image.crop_fraction) == (224, 224 / 256)
    assert (weights.image.interpolation, weights.image.antialias) == ("bicubic", False)
    assert "license" not in weights.origin


def test_the_preprocessing_is_that_of_a_config_beside_it(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    weights = opening.open_weights(write(tmp_path, LITE4))
    assert weights.model.pixel_mean == weights.model.pixel_stddev == (0.5,) * 3
    assert (weights.image.size, weights.image.crop_fraction) == (380, 0.92)
    assert (weights.image.interpolation, weights.image.antialias) == ("bilinear", True)
    assert weights.origin["license"] == "apache-2.0"


def test_the_network_of_the_same_tensors_is_refused(tmp_path):
    config = CONFIG | {"architecture": "efficientnet_lite0"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=rf"\b{LITE0}\b.*got.*\befficientnet_lite0\b"):
        opening.open_weights(write(tmp_path, LITE0))


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("blocks.6.1.bn3.weight", (320,), r"EfficientNetLite0.*\(1, 2.*, 2, 320\)"),
        ("blocks.6.0.bn3.weight", (328,), r"EfficientNetLite0.*, 1, 328\)"),
        ("blocks.1.0.se.conv_reduce.weight", (1,), r"lite4, got.*conv_reduce"),
        ("blocks.1.0.bn1.mean", (1,), r"lite4, got.*blocks\.1\.0\.bn1\.mean"),
    ],
)
def test_other_networks_are_refused(tmp_path, name, shape, message):
    with pytest.raises(ValueError, match=message):
        opening.open_weights(write(tmp_path, LITE0, **{name: np.zeros(shape)}))
