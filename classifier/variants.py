"""The depths of ResNet-RS (Bello et al. 2021, table 1 of the appendix).

Apart from `resnet_rs` so that a config can be checked without TensorFlow.
"""

from __future__ import annotations

#: Bottleneck blocks in each of the four stages. A depth is the stem's one, three
#: for each block and the head's one, as in ResNet; `resnet_rs_14` is ours, for
#: small images and quick runs, all others are published.
VARIANTS: dict[str, tuple[int, int, int, int]] = {
    "resnet_rs_14": (1, 1, 1, 1),
    "resnet_rs_50": (3, 4, 6, 3),
    "resnet_rs_101": (3, 4, 23, 3),
    "resnet_rs_152": (3, 8, 36, 3),
    "resnet_rs_200": (3, 24, 36, 3),
    "resnet_rs_270": (4, 29, 53, 4),
    "resnet_rs_350": (4, 36, 72, 4),
    "resnet_rs_420": (4, 44, 87, 4),
}
