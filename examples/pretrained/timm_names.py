"""Weights of EfficientNet-Lite0 by the names of timm's `tf_efficientnet_lite0`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

#: Layers outside the blocks, in a block of the first stage, and in any other block; the
#: names of the package `efficientnet-lite-pytorch` to those of timm.
_LAYERS = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_FIRST_BLOCK_LAYERS = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
_BLOCK_LAYERS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
#: Number of blocks of each stage.
_BLOCKS = (1, 2, 2, 3, 3, 4, 1)
#: Counters of PyTorch, which nothing reads.
_COUNTER = "num_batches_tracked"


def rename(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the weights by timm's names.

    Raises:
        ValueError: If they are not those of this network.
    """
    layers = dict(_layers())
    renamed = {}
    for name, weight in weights.items():
        layer, _, tensor = name.rpartition(".")
        if tensor == _COUNTER:
            continue
        if layer not in layers:
            raise ValueError(f"expected weights of EfficientNet-Lite0, got {name!r}")
        renamed[f"{layers[layer]}.{tensor}"] = np.ascontiguousarray(weight)
    return renamed


def _layers() -> Iterator[tuple[str, str]]:
    """Yields each layer's name and timm's; timm counts blocks in each stage anew."""
    yield from _LAYERS.items()
    number = 0
    for stage, num_blocks in enumerate(_BLOCKS):
        names = _BLOCK_LAYERS if stage else _FIRST_BLOCK_LAYERS
        for block in range(num_blocks):
            for name, timms in names.items():
                yield f"_blocks.{number}.{name}", f"blocks.{stage}.{block}.{timms}"
            number += 1
