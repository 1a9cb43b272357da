"""Published weights of EfficientNet-Lite: timm's names, and their preprocessing.

timm's `tf_efficientnet_lite0` to `4` are the weights of TensorFlow's authors, who train
and evaluate on (x - 127) / 128 of an intensity x in 0..255; timm evaluates them on
(x - 127.5) / 127.5. Its `efficientnet_lite0`, without `tf_`, is another network: it has
the same tensors, but PyTorch's padding and epsilon.
"""

from __future__ import annotations

import re

from classifier.data.config import ImageConfig
from classifier.models import variants
from classifier.models.config import ModelConfig
from classifier.models.efficientnet_lite import STAGES, scaled_blocks, scaled_filters
from classifier.weights.files import Arrays

_MEAN, _STDDEV = 127 / 255, 128 / 255
#: Pixels around the center crop, at the size of the network's input.
_CROP_PADDING = 32
#: Layers outside the blocks, in a block of the first stage, and in any other, by timm's
#: names.
_LAYERS = {
    "conv_stem": "stem_conv",
    "bn1": "stem_bn",
    "conv_head": "head_conv",
    "bn2": "head_bn",
    "classifier": "logits",
}
_FIRST_BLOCK_LAYERS = {
    "conv_dw": "depthwise_conv",
    "bn1": "depthwise_bn",
    "conv_pw": "project_conv",
    "bn2": "project_bn",
}
_BLOCK_LAYERS = {
    "conv_pw": "expand_conv",
    "bn1": "expand_bn",
    "conv_dw": "depthwise_conv",
    "bn2": "depthwise_bn",
    "conv_pwl": "project_conv",
    "bn3": "project_bn",
}


def timm_layer_name(layer: str) -> str | None:
    """Returns the name in our network of a layer of timm, None for any other name."""
    match = re.fullmatch(r"blocks\.([0-6])\.(\d{1,2})\.(\w+)", layer)
    if match is None:
        return _LAYERS.get(layer)
    stage, block = int(match[1]), int(match[2])
    part = (_BLOCK_LAYERS if stage else _FIRST_BLOCK_LAYERS).get(match[3])
    return part and f"stage{stage + 1}_block{block + 1}_{part}"


def timm_network(spec: str, arrays: Arrays) -> tuple[str, ModelConfig, ImageConfig]:
    """Returns a network by its tensors: timm's name, config and preprocessing.

    The preprocessing is the authors'. Tensors have our names.

    Raises:
        ValueError: If there is no such network.
    """
    found = _shape(arrays)
    for name, (width, depth, size) in variants.EFFICIENTNET_LITE.items():
        if found == _expected_shape(width, depth):
            model = ModelConfig(
                name=name, pixel_mean=(_MEAN,) * 3, pixel_stddev=(_STDDEV,) * 3
            )
            image = ImageConfig(size=size, crop_fraction=size / (size + _CROP_PADDING))
            return f"tf_efficientnet_lite{name[-1]}", model, image
    raise ValueError(
        f"{spec}: expected the blocks and filters of an EfficientNet-Lite, such as "
        f"{_expected_shape(1.0, 1.0)} for EfficientNetLite0, got {found}"
    )


def _expected_shape(width: float, depth: float) -> tuple[int, ...]:
    """Returns the number of blocks of each stage, and the filters of the last one."""
    blocks = (
        scaled_blocks(stage, num_blocks, depth)
        for stage, (num_blocks, *_) in enumerate(STAGES, start=1)
    )
    return *blocks, scaled_filters(STAGES[-1][1], width)


def _shape(arrays: Arrays) -> tuple[int, ...]:
    """Returns what `_expected_shape` does, for some tensors by our names."""
    blocks = [0] * len(STAGES)
    for name in arrays:
        if match := re.match(r"stage(\d)_block(\d+)_", name):
            stage = int(match[1]) - 1
            blocks[stage] = max(blocks[stage], int(match[2]))
    last = arrays.get("stage7_block1_project_bn/gamma")
    return *blocks, 0 if last is None else last.size
