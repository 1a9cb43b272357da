"""Pretrained weights on this machine."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from classifier.models import scaling
from classifier.probing.config import split_settings
from workflow.choice.networks import Backbone, count_multiply_adds

if TYPE_CHECKING:
    from classifier.features.source import FeatureSource

#: Prefix of a repository of huggingface.co, and its files that features need.
_HUB, _FILES = "hf:", ("model.safetensors", "config.json")
#: Prefix of a network of `keras.applications`.
_KERAS = "keras:"
#: Depths of ResNet-RS, and accuracy on ImageNet in percent at the largest size of each
#: (`docs/paper.md`).
_RESNET_RS = (
    *((50, 78.8), (101, 81.2), (152, 83.0), (200, 83.4)),
    *((270, 83.8), (350, 84.2), (420, 84.4)),
)
#: Accuracy on ImageNet in percent (keras.io/api/applications), and multiply-adds for an
#: image at the published size in billions (`classifier.models.flops`).
_EFFICIENT = {
    "EfficientNetV2B0": (78.7, 0.72),
    "EfficientNetV2B1": (79.8, 1.20),
    "EfficientNetV2B2": (80.5, 1.70),
    "EfficientNetV2B3": (82.0, 3.01),
    "EfficientNetV2S": (83.9, 8.37),
    "EfficientNetV2M": (85.3, 24.58),
    "EfficientNetV2L": (85.7, 56.08),
}


def describe(spec: str, settings: Sequence[str] = ()) -> Backbone:
    """Returns the features that a user names, of which a probe has some settings.

    Raises:
        ValueError: If they are broken or unknown, or a setting does not fit them.
        OSError: If there are none, or they cannot be downloaded.
    """
    from classifier.features.opening import open_features

    _, of_network = split_settings(settings)
    return Backbone(spec=spec, multiply_adds=_count(open_features(spec, of_network)))


def _count(source: FeatureSource) -> float | None:
    """Returns the multiply-adds for an image; None if they cannot be counted."""
    from classifier.features.keras_network import KerasFeatures
    from classifier.features.onnx_source import OnnxFeatures
    from classifier.models import flops, onnx_flops

    if isinstance(source, OnnxFeatures):
        return onnx_flops.count_multiply_adds(source.model)
    if isinstance(source, KerasFeatures):
        with contextlib.suppress(ValueError):
            return float(flops.count_multiply_adds(source.network))
    return None


def at_hand() -> tuple[Backbone, ...]:
    """Returns the features cached by huggingface_hub and Keras, the best last."""
    cached = {*_cached_on_hub(), *_cached_by_keras()}
    return tuple(backbone for backbone in published() if backbone.spec in cached)


def _cached_on_hub() -> Iterator[str]:
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return
    for backbone in published():
        if backbone.spec.startswith(_HUB):
            name = backbone.spec.removeprefix(_HUB)
            found = [try_to_load_from_cache(name, file) for file in _FILES]
            # Not None, if it was never looked for, and no mark that it does not exist.
            if all(isinstance(path, str) for path in found):
                yield backbone.spec


def _cached_by_keras() -> Iterator[str]:
    home = os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras")
    for name in _EFFICIENT:
        file = name.replace("EfficientNetV2", "EfficientNetV2-").lower()
        if (pathlib.Path(home) / "models" / f"{file}.h5").is_file():
            yield f"{_KERAS}{name}"


def published() -> tuple[Backbone, ...]:
    """Returns the features of published networks, the best on ImageNet last."""
    sizes = dict(scaling.PUBLISHED_SIZES)  # Of each depth the largest.
    found = [
        (
            top1,
            f"{_HUB}timm/resnetrs{depth}.tf_in1k",
            count_multiply_adds(depth, sizes[depth]),
        )
        for depth, top1 in _RESNET_RS
    ] + [
        (top1, f"{_KERAS}{name}", 1e9 * billions)
        for name, (top1, billions) in _EFFICIENT.items()
    ]
    return tuple(
        Backbone(spec=spec, multiply_adds=cost) for _, spec, cost in sorted(found)
    )
