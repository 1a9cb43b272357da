import sys

import pytest
from huggingface_hub import constants
from keras.src.utils import file_utils

from classifier.models import flops
from classifier.models.factory import build_network
from classifier.weights.keras_applications import preprocessing
from classifier.weights.opening import open_weights
from tests.classifier.features import onnx_models
from workflow.choice import weights


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Returns a function that puts the weights of a repository into the cache."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))

    def store(repository, *files):
        root = tmp_path / f"models--{repository.replace('/', '--')}"
        snapshot = root / "snapshots" / ("0" * 40)
        snapshot.mkdir(parents=True)
        for file in files or ("model.safetensors", "config.json"):
            (snapshot / file).touch()
        (root / "refs").mkdir()
        (root / "refs" / "main").write_text("0" * 40)

    return store


def test_weights_in_the_cache_are_found_the_best_last(cache):
    assert weights.at_hand() == ()
    for depth in (152, 50):
        cache(f"timm/resnetrs{depth}.tf_in1k")
    cache("timm/resnetrs101.tf_in1k", "config.json")
    cache("timm/resnetrs200.tf_in1k", "model.safetensors")
    cache("timm/resnet50.a1_in1k")
    assert [found.spec for found in weights.at_hand()] == [
        *("hf:timm/resnetrs50.tf_in1k", "hf:timm/resnetrs152.tf_in1k")
    ]


def test_without_huggingface_hub_none_are_found(cache, monkeypatch):
    cache("timm/resnetrs50.tf_in1k")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert weights.at_hand() == ()


def test_weights_that_keras_has_fetched_are_found(cache, tmp_path):
    models = tmp_path / "keras" / "models"
    models.mkdir(parents=True)
    for name in ("efficientnetv2-s.h5", "efficientnetv2-b0_notop.h5"):
        (models / name).touch()
    cache("timm/resnetrs420.tf_in1k")
    cache("timm/resnetrs200.tf_in1k")
    assert [found.spec for found in weights.at_hand()] == [
        *("hf:timm/resnetrs200.tf_in1k", "keras:EfficientNetV2S"),
        "hf:timm/resnetrs420.tf_in1k",
    ]


def test_the_file_is_the_one_that_keras_fetches(tmp_path, monkeypatch):
    models = tmp_path / "models"
    models.mkdir()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))

    def get_file(name, url, **how):
        (models / name).touch()
        raise OSError

    monkeypatch.setattr(file_utils, "get_file", get_file)
    with pytest.raises(OSError, match="EfficientNetV2B0"):
        open_weights("keras:imagenet", name="EfficientNetV2B0")
    (found,) = [f for f in weights.at_hand() if f.spec.startswith("keras:")]
    assert found.spec == "keras:EfficientNetV2B0"
    model, image = preprocessing("EfficientNetV2B0")
    network = build_network(model, image_size=image.size, num_classes=1000)
    counted = flops.count_multiply_adds(network)
    assert found.multiply_adds == pytest.approx(counted, rel=0.01)


def test_the_network_of_a_classifier_is_counted(exported):
    directory, network = exported
    found = weights.describe(str(directory))
    assert found.multiply_adds == flops.count_multiply_adds(network)


@pytest.mark.parametrize("spec", ["saved_model:none", "keras:Nope", "bogus:x", "none"])
def test_features_that_there_are_not_are_refused(spec, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=spec.split(":")[-1]):
        weights.describe(spec)


def test_an_onnx_file_is_counted(tmp_path):
    path = onnx_models.write(tmp_path / "a b.onnx")
    found = weights.describe(f"onnx:{path}")
    outputs = (onnx_models.SIDE // 2 - 1) ** 2  # Of a kernel of 3x3, stride 2.
    assert found.multiply_adds == outputs * 5 * 27 + 5 * onnx_models.FEATURES
    with pytest.raises(FileNotFoundError):
        weights.describe(f"onnx:{tmp_path}/no.onnx")


def test_an_onnx_file_of_any_size_is_counted_at_the_one_given(tmp_path):
    spec = f"onnx:{onnx_models.write(tmp_path / 'open.onnx', side=None)}"
    with pytest.raises(ValueError, match="leaves the size of its images open"):
        weights.describe(spec)
    small, large = (
        weights.describe(spec, [f"image.size={size}", "probe.folds=3"]).multiply_adds
        for size in (40, 80)
    )
    assert large > 3 * small
