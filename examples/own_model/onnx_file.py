r"""Labels with an ONNX file, as exported by PyTorch.

    python -m beam_jobs.label_images --class_names=imagenet.txt \
        --model_handler=examples.own_model.onnx_file:OnnxHandler:resnet.onnx ...

The network maps float32 [B,3,S,S], standardized as for torchvision's networks, to
logits [B,K]. Needs the package `onnxruntime`.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
from apache_beam.ml.inference.base import ModelHandler
from PIL import Image

#: Mean and standard deviation of ImageNet's pixels by channel, as in torchvision.
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


class OnnxHandler(ModelHandler[bytes, np.ndarray, onnxruntime.InferenceSession]):
    """Runs a network with ONNX Runtime, with one thread in each worker process."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def load_model(self) -> onnxruntime.InferenceSession:
        """Returns the network, once in a process."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # A process runs on each core.
        return onnxruntime.InferenceSession(
            self._path, options, providers=["CPUExecutionProvider"]
        )

    def run_inference(
        self,
        batch: Sequence[bytes],
        model: onnxruntime.InferenceSession,
        inference_args: dict[str, Any] | None = None,
    ) -> np.ndarray:
        """Returns logits [B,K]."""
        (pixels,) = model.get_inputs()
        size = pixels.shape[-1]
        images = np.stack([_decode(encoded, size) for encoded in batch])
        (logits,) = model.run(None, {pixels.name: images.transpose(0, 3, 1, 2)})
        return logits


def _decode(encoded: bytes, size: int) -> np.ndarray:
    image = Image.open(io.BytesIO(encoded)).convert("RGB")
    resized = image.resize((size, size), Image.Resampling.BILINEAR)
    return (np.asarray(resized, np.float32) / 255 - MEAN) / DEVIATION
