"""Writes the logits of timm's networks; needs PyTorch and timm, which tests do not.

python -m tests.classifier.weights.record_timm
"""

import json
import pathlib

import numpy as np
import timm
import torch

from tests.classifier.weights import timm_networks

PATH = pathlib.Path(__file__).parents[2] / "data" / "timm_resnet_rs.json"


def main():
    logits = {depth: record(depth) for depth in timm_networks.BLOCKS}
    versions = {"timm": timm.__version__, "torch": torch.__version__}
    PATH.write_text(json.dumps({"versions": versions, "logits": logits}) + "\n")


def record(depth):
    """Logits [B,K] by size."""
    network = timm.create_model(
        f"resnetrs{depth}", num_classes=timm_networks.NUM_CLASSES
    )
    weights = timm_networks.weights(depth)
    network.load_state_dict({k: torch.tensor(v) for k, v in weights.items()})
    network.eval()
    with torch.no_grad():
        return {
            size: network(scale(timm_networks.images(size))).numpy().round(6).tolist()
            for size in timm_networks.SIZES
        }


def scale(pixels):
    scaled = (pixels / 255 - timm_networks.MEAN) / timm_networks.STDDEV
    return torch.tensor(scaled.transpose(0, 3, 1, 2).astype(np.float32))


if __name__ == "__main__":
    main()
