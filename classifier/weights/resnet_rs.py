"""Published weights of ResNet-RS: names of their tensors, and their preprocessing.

`tf_keras.applications.resnet_rs` and timm have converted the weights of the paper's
authors; timm's `resnetrs200.tf_in1k` is a later training with TPUs by timm's author.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from classifier.data.config import ImageConfig
from classifier.models import scaling, variants
from classifier.models.config import ModelConfig
from classifier.weights import files
from classifier.weights.files import Arrays
from classifier.weights.published import Weights
from stage import artifact


def open_hdf5(spec: str, path: str) -> Weights:
    """Returns the weights of a file of `tf_keras.applications.resnet_rs`."""
    content = files.read(spec, path)
    found = files.read_hdf5(spec, content).arrays
    arrays = {variable_name(name): array for name, array in found.items()}
    depth = _find_depth(spec, arrays)
    return Weights(
        spec=spec,
        model=ModelConfig(name=f"{variants.PREFIX}{depth}"),
        image=ImageConfig(size=_LARGEST_SIZES[depth]),
        arrays=arrays,
        fingerprint=artifact.fingerprint([content]),
        origin=files.describe(spec, path, content),
    )


#: Largest size in pixels that the authors trained each depth at.
_LARGEST_SIZES = dict(sorted(scaling.PUBLISHED_SIZES))


def _find_depth(spec: str, names: Iterable[str]) -> int:
    """Returns the published depth that has the blocks of some tensors, by our names."""
    found = [re.match(r"stage([1-4])_block(\d{1,3})_", name) for name in names]
    blocks = [0, 0, 0, 0]
    for match in filter(None, found):
        stage = int(match[1]) - 1
        blocks[stage] = max(blocks[stage], int(match[2]))
    for depth, published in variants.PUBLISHED_BLOCKS.items():
        if tuple(blocks) == published:
            return depth
    other_names = "; tf_keras writes their names to NAME.h5, not to NAME.weights.h5"
    hint = "" if any(blocks) else other_names
    raise ValueError(
        f"{spec}: expected the blocks of a published ResNet-RS, such as "
        f"{variants.PUBLISHED_BLOCKS[50]} for depth 50, got {tuple(blocks)}{hint}"
    )


# --- tf_keras -----------------------------------------------------------------------
#: Layers of a bottleneck block, published name to ours. The published name of the first
#: batch-norm lacks an underscore.
_BLOCK_LAYERS = {
    "_conv_1": "reduce_conv",
    "batch_norm_1": "reduce_bn",
    "_conv_2": "spatial_conv",
    "_batch_norm_2": "spatial_bn",
    "_conv_3": "expand_conv",
    "_batch_norm_3": "expand_bn",
    "_se_se_reduce": "se_reduce",
    "_se_se_expand": "se_expand",
    "_projection_conv": "shortcut_conv",
    "_projection_batch_norm": "shortcut_bn",
}
_STEM_LAYERS = ("stem_0", "stem_1", "stem_2", "stem_pool")


def variable_name(name: str) -> str:
    """Returns the name in our network of a tensor of `tf_keras.applications.resnet_rs`.

    A name such as "BlockGroup2__block_0__conv_1/kernel:0" may be in any HDF5 group; any
    other name is returned as it is.
    """
    layer, _, tensor = name.removesuffix(":0").rpartition("/")
    layer = layer.rpartition("/")[-1]
    if layer == "predictions":
        return f"logits/{tensor}"
    if match := re.fullmatch(r"stem_\d+_stem_(conv|batch_norm)_([1-4])", layer):
        kind = "conv" if match[1] == "conv" else "bn"
        return f"{_STEM_LAYERS[int(match[2]) - 1]}_{kind}/{tensor}"
    match = re.fullmatch(r"BlockGroup([2-5])__block_(\d+)_(.+)", layer)
    if match is None or match[3] not in _BLOCK_LAYERS:
        return name
    block = f"stage{int(match[1]) - 1}_block{int(match[2]) + 1}"
    return f"{block}_{_BLOCK_LAYERS[match[3]]}/{tensor}"


# --- timm ---------------------------------------------------------------------------
#: Layers outside the blocks, and in a block behind "layer1.0.", by timm's names.
_TIMM_LAYERS = {
    "conv1.0": "stem_0_conv",
    "conv1.1": "stem_0_bn",
    "conv1.3": "stem_1_conv",
    "conv1.4": "stem_1_bn",
    "conv1.6": "stem_2_conv",
    "bn1": "stem_2_bn",
    "maxpool.0": "stem_pool_conv",
    "maxpool.1": "stem_pool_bn",
    "fc": "logits",
}
_TIMM_BLOCK_LAYERS = {
    "conv1": "reduce_conv",
    "bn1": "reduce_bn",
    "conv2": "spatial_conv",
    "bn2": "spatial_bn",
    "conv3": "expand_conv",
    "bn3": "expand_bn",
    "se.fc1": "se_reduce",
    "se.fc2": "se_expand",
    "downsample.1": "shortcut_conv",
    "downsample.2": "shortcut_bn",
}


def timm_layer_name(layer: str) -> str | None:
    """Returns the name in our network of a layer of timm, None for any other name."""
    match = re.fullmatch(r"layer([1-4])\.(\d{1,3})\.(.+)", layer)
    if match is None:
        return _TIMM_LAYERS.get(layer)
    part = _TIMM_BLOCK_LAYERS.get(match[3])
    return part and f"stage{match[1]}_block{int(match[2]) + 1}_{part}"


def timm_network(spec: str, arrays: Arrays) -> tuple[str, ModelConfig, ImageConfig]:
    """Returns a network by its tensors: timm's name, config and preprocessing.

    Tensors have our names.

    Raises:
        ValueError: If there is no such network.
    """
    depth = _find_depth(spec, arrays)
    model = ModelConfig(name=f"{variants.PREFIX}{depth}")
    # timm resizes with Pillow.
    image = ImageConfig(size=_LARGEST_SIZES[depth], antialias=True)
    return f"resnetrs{depth}", model, image
