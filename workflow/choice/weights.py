"""Pretrained weights on this machine."""

from __future__ import annotations

from classifier.models import scaling
from workflow.choice.networks import Backbone, count_multiply_adds

#: Prefix of an ONNX file.
_ONNX = "onnx:"
#: Prefix of a repository of huggingface.co, and its file of weights.
_HUB, _FILE = "hf:", "model.safetensors"


def describe(spec: str) -> Backbone:
    """Returns the features that a user names.

    Raises:
        ValueError: If it is an ONNX file of no network of images.
        FileNotFoundError: If there is no such file.
    """
    if spec.startswith(_ONNX):
        return Backbone(spec=spec, multiply_adds=_count(spec.removeprefix(_ONNX)))
    known = {backbone.spec: backbone for backbone in published()}
    return known.get(spec, Backbone(spec=spec))


def _count(path: str) -> float | None:
    from classifier.features import onnx_source
    from classifier.models import onnx_flops

    features = onnx_source.open_file(path, (), log=lambda _: None)
    return onnx_flops.count_multiply_adds(features.model)


def at_hand() -> tuple[Backbone, ...]:
    """Returns the features in the cache of huggingface_hub, the best last."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return ()
    return tuple(
        backbone
        for backbone in published()
        # Not None, if it was never looked for, and no mark that it does not exist.
        if isinstance(
            try_to_load_from_cache(backbone.spec.removeprefix(_HUB), _FILE), str
        )
    )


def published() -> tuple[Backbone, ...]:
    """Returns the features of every published ResNet-RS, the best last."""
    sizes = dict(scaling.PUBLISHED_SIZES)  # Of each depth the largest.
    return tuple(
        Backbone(
            spec=f"{_HUB}timm/resnetrs{depth}.tf_in1k",
            multiply_adds=count_multiply_adds(depth, size),
        )
        for depth, size in sizes.items()
    )
