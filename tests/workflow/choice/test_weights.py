import sys

import pytest
from huggingface_hub import constants

from tests.classifier.features import onnx_models
from workflow.choice import weights


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Returns a function that puts the weights of a repository into the cache."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))

    def store(repository, file="model.safetensors"):
        root = tmp_path / f"models--{repository.replace('/', '--')}"
        snapshot = root / "snapshots" / ("0" * 40)
        snapshot.mkdir(parents=True)
        (snapshot / file).touch()
        (root / "refs").mkdir()
        (root / "refs" / "main").write_text("0" * 40)

    return store


def test_weights_in_the_cache_are_found_the_best_last(cache):
    assert weights.at_hand() == ()
    for depth in (152, 50):
        cache(f"timm/resnetrs{depth}.tf_in1k")
    cache("timm/resnetrs101.tf_in1k", "config.json")
    cache("timm/resnet50.a1_in1k")
    assert [found.spec for found in weights.at_hand()] == [
        *("hf:timm/resnetrs50.tf_in1k", "hf:timm/resnetrs152.tf_in1k")
    ]


def test_without_huggingface_hub_none_are_found(cache, monkeypatch):
    cache("timm/resnetrs50.tf_in1k")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert weights.at_hand() == ()


def test_what_a_user_names_may_have_a_known_cost():
    known = weights.describe("hf:timm/resnetrs420.tf_in1k")
    assert known.multiply_adds == pytest.approx(63.94e9)  # 127.88 GFLOPs, published.
    assert weights.describe("saved_model:a b").multiply_adds is None


def test_an_onnx_file_is_counted(tmp_path):
    path = onnx_models.write(tmp_path / "a b.onnx")
    found = weights.describe(f"onnx:{path}")
    outputs = (onnx_models.SIDE // 2 - 1) ** 2  # Of a kernel of 3x3, stride 2.
    assert found.multiply_adds == outputs * 5 * 27 + 5 * onnx_models.FEATURES
    with pytest.raises(FileNotFoundError):
        weights.describe(f"onnx:{tmp_path}/no.onnx")
