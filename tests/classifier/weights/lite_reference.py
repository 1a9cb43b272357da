"""Logits of timm's EfficientNet-Lite, of weights that are drawn by their names.

  python -m tests.classifier.weights.lite_reference

records them, with timm 1.0.9 and PyTorch installed; the tests need neither.
"""

import json
import pathlib
import zlib

import numpy as np

PATH = pathlib.Path(__file__).parents[2] / "data" / "timm_efficientnet_lite.json"
NETWORKS = ("tf_efficientnet_lite0", "tf_efficientnet_lite4")
NUM_CLASSES = 7
SIZES = (64, 75)


def draw_weight(name, shape):
    """Returns the weight of a name, the same in every process."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if len(shape) > 1:
        values = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
    elif name.endswith("bn3.weight"):  # Small, as rounding errors grow with it.
        values = rng.uniform(0.5, 0.9, shape)
    elif name.endswith(("running_var", "bn1.weight", "bn2.weight")):
        values = rng.uniform(0.5, 1.5, shape)
    else:
        values = rng.normal(0, 0.1, shape)
    return values.astype(np.float32)


def draw_weights(shapes):
    """Returns the weights of all names."""
    return {name: draw_weight(name, shape) for name, shape in shapes.items()}


def draw_pixels(size):
    """Returns two images, uint8 [2,S,S,3]."""
    return np.random.default_rng(size).integers(0, 256, (2, size, size, 3), np.uint8)


def record(name):
    """Returns names and shapes of a network's tensors, and logits for each size."""
    import timm
    import torch

    network = timm.create_model(name, num_classes=NUM_CLASSES).eval()
    shapes = {
        key: list(tensor.shape)
        for key, tensor in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    weights = {k: torch.from_numpy(v) for k, v in draw_weights(shapes).items()}
    network.load_state_dict(weights, strict=False)
    logits = {}
    for size in SIZES:
        scaled = (draw_pixels(size).astype(np.float32) - 127) / 128
        with torch.no_grad():
            found = network(torch.from_numpy(scaled.transpose(0, 3, 1, 2)))
        logits[str(size)] = np.round(found.numpy().astype(float), 5).tolist()
    return {"tensors": shapes, "logits": logits}


if __name__ == "__main__":
    recorded = {name: record(name) for name in NETWORKS}
    PATH.write_text(json.dumps(recorded, separators=(",", ":")) + "\n")
