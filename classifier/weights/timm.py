"""Files of timm's weights: tensors by our names, and the preprocessing beside them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from etils import epath

from classifier.data.config import ImageConfig
from classifier.models.config import IMAGENET_MEAN, IMAGENET_STDDEV, ModelConfig
from classifier.weights import efficientnet_lite, files, resnet_rs
from classifier.weights.files import Arrays
from classifier.weights.published import Weights
from stage import artifact, typed_json
from stage.licenses import License

#: What timm writes beside its weights.
CONFIG = "config.json"


def open_safetensors(spec: str, path: str) -> Weights:
    """Returns the weights of a file of timm.

    The preprocessing is that of the `config.json` beside it, if timm wrote one.
    """
    content = files.read(spec, path)
    tensors = files.read_safetensors(spec, content)
    family = _find_family(spec, tensors)
    arrays = _take_over(spec, tensors, family)
    architecture, model, image = family.network(spec, arrays)
    config = _read_config(spec, epath.Path(path).parent / CONFIG, architecture)
    origin = files.describe(spec, path, content)
    if evaluated := config.pretrained_cfg:
        model, image = evaluated.model(model), evaluated.image(image)
        if evaluated.license:
            origin["license"] = evaluated.license
    return Weights(
        spec=spec,
        model=model,
        image=image,
        arrays=arrays,
        fingerprint=artifact.fingerprint([content]),
        origin=origin,
    )


class _Family(NamedTuple):
    """Networks whose tensors timm names in the same way.

    Attributes:
        names: timm's names of the networks, for messages.
        layer_name: Function from timm's name of a layer to ours, or None.
        network: Function from a file's name and its tensors, by our names, to timm's
            name of the network, the network, and its preprocessing.
    """

    names: str
    layer_name: Callable[[str], str | None]
    network: Callable[[str, Arrays], tuple[str, ModelConfig, ImageConfig]]


#: Families by a tensor that no other one has.
_FAMILIES = {
    "conv1.0.weight": _Family(
        "resnetrs50 to resnetrs420", resnet_rs.timm_layer_name, resnet_rs.timm_network
    ),
    "conv_stem.weight": _Family(
        "tf_efficientnet_lite0 to tf_efficientnet_lite4",
        efficientnet_lite.timm_layer_name,
        efficientnet_lite.timm_network,
    ),
}
#: Tensors of a convolution or dense layer, and of batch normalization.
_TENSORS = {"weight": "kernel", "bias": "bias"}
_BN_TENSORS = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
#: Counters of PyTorch, without a meaning here.
_COUNTER = "num_batches_tracked"
#: Axes of PyTorch's kernels in Keras's order, by their number. A depthwise convolution
#: has a single input channel in PyTorch, a single output channel in Keras.
_KERNEL_AXES = {2: (1, 0), 4: (2, 3, 1, 0)}
_DEPTHWISE_AXES = {4: (2, 3, 0, 1)}


def _find_family(spec: str, tensors: Arrays) -> _Family:
    for name, family in _FAMILIES.items():
        if name in tensors:
            return family
    expected = " or ".join(family.names for family in _FAMILIES.values())
    got = typed_json.shown(next(iter(tensors), "no tensor"))
    raise ValueError(f"{spec}: expected tensors of timm's {expected}, got {got}")


def _take_over(spec: str, tensors: Arrays, family: _Family) -> Arrays:
    """Returns timm's tensors by our names, with axes in our order."""
    arrays = {}
    for name, array in tensors.items():
        if name.endswith(f".{_COUNTER}"):
            continue
        ours = _variable_name(name, family)
        if ours is None or array.dtype.kind != "f":
            raise ValueError(
                f"{spec}: expected floating-point tensors of timm's {family.names}, "
                f"got {typed_json.shown(name)} of shape {array.shape} and type "
                f"{array.dtype}"
            )
        if ours.endswith("/kernel"):
            is_depthwise = ours.endswith("_depthwise_conv/kernel")
            axes = _DEPTHWISE_AXES if is_depthwise else _KERNEL_AXES
            if array.ndim in axes:  # If not, its shape is refused later.
                array = array.transpose(axes[array.ndim])
        arrays[ours] = np.ascontiguousarray(array)
    return arrays


def _variable_name(name: str, family: _Family) -> str | None:
    """Returns the name in our network of a tensor of timm, None for any other name."""
    layer, _, tensor = name.rpartition(".")
    ours = family.layer_name(layer)
    if ours is None:
        return None
    tensors = _BN_TENSORS if ours.endswith("_bn") else _TENSORS
    return f"{ours}/{tensors[tensor]}" if tensor in tensors else None


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
        # Raises ValueError for impossible values.
        self.model(ModelConfig()), self.image(ImageConfig())

    def model(self, model: ModelConfig) -> ModelConfig:
        """Returns a network with this scaling of pixels."""
        return dataclasses.replace(model, pixel_mean=self.mean, pixel_stddev=self.std)

    def image(self, image: ImageConfig) -> ImageConfig:
        """Returns this preprocessing; the size is that of `image` if none is stated."""
        return ImageConfig(
            size=self.input_size[-1] if self.input_size else image.size,
            crop_fraction=self.crop_pct,
            interpolation=self.interpolation,
            antialias=True,  # timm resizes with Pillow.
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Config:
    """The content of timm's `config.json`."""

    architecture: str = ""
    pretrained_cfg: _Pretrained | None = None


def _read_config(spec: str, path: epath.Path, architecture: str) -> _Config:
    config = typed_json.read(path, _Config) if path.exists() else _Config()
    if config.architecture not in ("", architecture):
        raise ValueError(
            f"{spec}: expected the architecture {architecture}, as the tensors have, "
            f"got {typed_json.shown(config.architecture)} in {path}"
        )
    return config
