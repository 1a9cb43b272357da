"""Published weights of ResNet-RS: names of their tensors, and their preprocessing.

`tf_keras.applications.resnet_rs` and timm have converted the weights of the paper's
authors; timm's `resnetrs200.tf_in1k` is a later training with TPUs by timm's author.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import Literal

import numpy as np
from etils import epath

from classifier.data.config import ImageConfig
from classifier.models import scaling, variants
from classifier.models.config import IMAGENET_MEAN, IMAGENET_STDDEV, ModelConfig
from classifier.weights import files
from classifier.weights.files import Arrays
from classifier.weights.published import Weights
from stage import artifact, typed_json
from stage.licenses import License

#: What timm writes beside its weights.
CONFIG = "config.json"


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


def open_safetensors(spec: str, path: str) -> Weights:
    """Returns the weights of a file of timm.

    The preprocessing is that of the `config.json` beside it, if timm wrote one.
    """
    content = files.read(spec, path)
    arrays = _take_over(spec, files.read_safetensors(spec, content))
    depth = _find_depth(spec, arrays)
    evaluated = _read_config(spec, epath.Path(path).parent / CONFIG, depth)
    origin = files.describe(spec, path, content)
    if evaluated.license:
        origin["license"] = evaluated.license
    return Weights(
        spec=spec,
        model=evaluated.model(depth),
        image=evaluated.image(depth),
        arrays=arrays,
        fingerprint=artifact.fingerprint([content]),
        origin=origin,
    )


#: Largest size in pixels that the authors trained each depth at.
_LARGEST_SIZES = dict(sorted(scaling.PUBLISHED_SIZES))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Pretrained:
    """How timm's weights were evaluated.

    Attributes:
        mean: Mean of each channel's intensities in [0, 1].
        std: Their standard deviation.
        input_size: Channels, height and width; empty if they are not stated.
        crop_pct: Side of the center crop as a share of the image's shorter side.
        interpolation: Resampling.
        license: License of the weights; None if it is not stated.
    """

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STDDEV
    input_size: tuple[int, ...] = ()
    crop_pct: float = ImageConfig.crop_fraction
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    license: License | None = None

    def __post_init__(self) -> None:
        self.model(50), self.image(50)  # Raises ValueError for impossible values.

    def model(self, depth: int) -> ModelConfig:
        return ModelConfig(
            name=f"{variants.PREFIX}{depth}",
            pixel_mean=self.mean,
            pixel_stddev=self.std,
        )

    def image(self, depth: int) -> ImageConfig:
        return ImageConfig(
            size=self.input_size[-1] if self.input_size else _LARGEST_SIZES[depth],
            crop_fraction=self.crop_pct,
            interpolation=self.interpolation,
            antialias=True,  # timm resizes with Pillow.
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Config:
    """The content of timm's `config.json`."""

    architecture: str = ""
    pretrained_cfg: _Pretrained | None = None


def _read_config(spec: str, path: epath.Path, depth: int) -> _Pretrained:
    config = typed_json.read(path, _Config) if path.exists() else _Config()
    if config.architecture not in ("", f"resnetrs{depth}"):
        raise ValueError(
            f"{spec}: expected the architecture resnetrs{depth}, as the tensors have, "
            f"got {typed_json.shown(config.architecture)} in {path}"
        )
    return config.pretrained_cfg or _Pretrained()


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
    raise ValueError(
        f"{spec}: expected the blocks of a published ResNet-RS, such as "
        f"{variants.PUBLISHED_BLOCKS[50]} for depth 50, got {tuple(blocks)}"
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
#: Tensors of a convolution or dense layer, and of batch normalization.
_TIMM_TENSORS = {"weight": "kernel", "bias": "bias"}
_TIMM_BN_TENSORS = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
#: Counters of PyTorch, without a meaning here.
_TIMM_COUNTER = "num_batches_tracked"
#: Axes of PyTorch's kernels in Keras's order, by their number.
_KERNEL_AXES = {2: (1, 0), 4: (2, 3, 1, 0)}


def timm_variable_name(name: str) -> str | None:
    """Returns the name in our network of a tensor of timm, None for any other name."""
    layer, _, tensor = name.rpartition(".")
    if match := re.fullmatch(r"layer([1-4])\.(\d{1,3})\.(.+)", layer):
        part = _TIMM_BLOCK_LAYERS.get(match[3])
        ours = part and f"stage{match[1]}_block{int(match[2]) + 1}_{part}"
    else:
        ours = _TIMM_LAYERS.get(layer)
    if ours is None:
        return None
    tensors = _TIMM_BN_TENSORS if ours.endswith("_bn") else _TIMM_TENSORS
    return f"{ours}/{tensors[tensor]}" if tensor in tensors else None


def _take_over(spec: str, tensors: Arrays) -> Arrays:
    """Returns timm's tensors by our names, with axes in our order."""
    arrays = {}
    for name, array in tensors.items():
        if name.endswith(f".{_TIMM_COUNTER}"):
            continue
        ours = timm_variable_name(name)
        if ours is None or array.dtype.kind != "f":
            raise ValueError(
                f"{spec}: expected floating-point tensors of timm's resnetrs50 to "
                f"resnetrs420, got {typed_json.shown(name)} of shape {array.shape} and "
                f"type {array.dtype}"
            )
        if ours.endswith("/kernel") and array.ndim in _KERNEL_AXES:
            array = array.transpose(_KERNEL_AXES[array.ndim])
        arrays[ours] = np.ascontiguousarray(array)
    return arrays
