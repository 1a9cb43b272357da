"""Names of networks, and numbers of blocks for each depth of ResNet-RS.

Separate from `resnet_rs`, so that configs can be checked without TensorFlow.
"""

from __future__ import annotations

import re

Blocks = tuple[int, int, int, int]

#: Bottleneck blocks of the four stages at each published depth (Bello et al. 2021).
PUBLISHED_BLOCKS: dict[int, Blocks] = {
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
    270: (4, 29, 53, 4),
    350: (4, 36, 72, 4),
    420: (4, 44, 87, 4),
}
#: Unpublished depth of one block per stage, for small images and quick runs.
SMALLEST_DEPTH = 14
#: Depths that the blocks of other depths are interpolated between.
_KNOWN_BLOCKS: dict[int, Blocks] = {SMALLEST_DEPTH: (1, 1, 1, 1), **PUBLISHED_BLOCKS}

PREFIX = "resnet_rs_"

#: Networks of `keras.applications` in the pinned Keras.
KERAS_APPLICATIONS = (
    *("ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtSmall", "ConvNeXtTiny"),
    *("ConvNeXtXLarge", "DenseNet121", "DenseNet169", "DenseNet201"),
    *("EfficientNetB0", "EfficientNetB1", "EfficientNetB2", "EfficientNetB3"),
    *("EfficientNetB4", "EfficientNetB5", "EfficientNetB6", "EfficientNetB7"),
    *("EfficientNetV2B0", "EfficientNetV2B1", "EfficientNetV2B2", "EfficientNetV2B3"),
    *("EfficientNetV2L", "EfficientNetV2M", "EfficientNetV2S", "InceptionResNetV2"),
    *("InceptionV3", "MobileNet", "MobileNetV2", "MobileNetV3Large"),
    *("MobileNetV3Small", "NASNetLarge", "NASNetMobile", "ResNet50", "ResNet50V2"),
    *("ResNet101", "ResNet101V2", "ResNet152", "ResNet152V2", "VGG16", "VGG19"),
    "Xception",
)

#: EfficientNet-Lite0 to 4 (github.com/tensorflow/tpu, `efficientnet/lite`): factors of
#: B0's width and depth, and the side in pixels that the published weights are for.
EFFICIENTNET_LITE = {
    "EfficientNetLite0": (1.0, 1.0, 224),
    "EfficientNetLite1": (1.0, 1.1, 240),
    "EfficientNetLite2": (1.1, 1.2, 260),
    "EfficientNetLite3": (1.2, 1.4, 280),
    "EfficientNetLite4": (1.4, 1.8, 300),
}

#: Valid names, except for those of interpolated depths.
KNOWN_NAMES = (
    *(f"{PREFIX}{depth}" for depth in _KNOWN_BLOCKS),
    *EFFICIENTNET_LITE,
    *KERAS_APPLICATIONS,
)


def is_own(name: str) -> bool:
    """Returns whether a network is built here, layer by layer, not by Keras."""
    return name.startswith(PREFIX) or name in EFFICIENTNET_LITE


def is_resnet_rs(name: str) -> bool:
    """Whether a name is that of a ResNet-RS, of any depth, which has a width."""
    return name.startswith(PREFIX)


def depth_of(name: str) -> int | None:
    """Returns the depth in a ResNet-RS's name, None for another network's.

    Raises ValueError if there is no ResNet-RS of that depth.
    """
    match = re.fullmatch(rf"{PREFIX}(\d+)", name)
    if match is None:
        return None
    depth = int(match[1])
    stage_blocks(depth)
    return depth


def stage_blocks(depth: int) -> Blocks:
    """Returns the bottleneck blocks of the four stages of a ResNet-RS.

    As in ResNet, the depth counts one layer of the stem, three per block and the head.
    Between published depths each stage is interpolated by the total number of blocks;
    the third stage, the longest, absorbs the rounding. Raises ValueError if there is no
    network of this depth.
    """
    if depth in _KNOWN_BLOCKS:
        return _KNOWN_BLOCKS[depth]
    if not SMALLEST_DEPTH < depth < max(_KNOWN_BLOCKS) or (depth - 2) % 3:
        raise ValueError(
            f"expected a ResNet-RS of depth {SMALLEST_DEPTH}, {SMALLEST_DEPTH + 3} and "
            f"so on up to {max(_KNOWN_BLOCKS)}, got {depth}; nearest is "
            f"{_nearest_depth(depth)}"
        )
    total = num_blocks(depth)
    known = [(sum(blocks), blocks) for blocks in _KNOWN_BLOCKS.values()]
    below = max(pair for pair in known if pair[0] <= total)
    above = min(pair for pair in known if pair[0] >= total)
    if below == above:
        return below[1]
    share = (total - below[0]) / (above[0] - below[0])
    first, second, _, fourth = (
        round(low + share * (high - low))
        for low, high in zip(below[1], above[1], strict=True)
    )
    return first, second, total - first - second - fourth, fourth


def num_blocks(depth: int) -> int:
    """Returns the total number of bottleneck blocks."""
    return (depth - 2) // 3


def _nearest_depth(depth: int) -> int:
    depths = [*range(SMALLEST_DEPTH, max(_KNOWN_BLOCKS), 3), *PUBLISHED_BLOCKS]
    return min(depths, key=lambda known: abs(known - depth))
