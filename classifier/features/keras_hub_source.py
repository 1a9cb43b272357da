"""Features of a preset of KerasHub: a name of its list, a handle or a directory.

The embedding is CLIP's and SigLIP's own of images; the class token of a vision
transformer that has one; else the mean over places or tokens of the last output.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from classifier.data.config import ImageConfig
from classifier.features.graph_config import GraphConfig, GraphSettings
from classifier.features.saved_model_source import pool, scale
from classifier.features.traced import TracedFeatures
from stage import artifact
from stage.cli import Log
from stage.extras import install_extra
from stage.overrides import override_all, paths_of
from stage.typed_json import error_message

#: Backbones whose first token stands for the image.
_CLASS_TOKEN = ("ViTBackbone", "DeiTBackbone", "DINOV2Backbone", "DINOV3Backbone")
_FIXED = ("input", "output", "layout")


def open_preset(preset: str, assignments: Sequence[str], log: Log) -> TracedFeatures:
    """Returns the features of a preset; `log` receives what was assumed.

    Raises:
        ValueError: If KerasHub is not installed, it is no preset of images, or a
            setting does not fit.
        OSError: If it is neither at hand nor can be downloaded.
    """
    spec = f"keras_hub:{preset}"
    if importlib.util.find_spec("keras_hub") is None:
        raise ValueError(f"{spec}: needs KerasHub: {install_extra('pretrained')}")
    if pathlib.Path(preset).exists():
        artifact.check_files(preset)
    for name in _FIXED:
        if name in paths_of(assignments):
            raise ValueError(f"{spec}: has no setting {name}; KerasHub decides it")
    backbone = _load(spec, preset)
    settings = _settings(spec, preset, backbone, assignments)
    if assumed := settings.assumed(scales=True):
        log(f"{spec}: assumed {assumed}; --set= changes it")
    config = settings.config

    def embed(pixels: Any) -> Any:
        images = scale(pixels, config, layout="nhwc", dtype=tf.float32)
        return _embed(backbone, images, config.pooling)

    described = dataclasses.asdict(config)
    source = TracedFeatures(
        spec=spec,
        embed=embed,
        image=config.image,
        origin={
            "source": f"keras_hub:{pathlib.PurePath(preset).name}",
            "settings": described,
        },
        content=json.dumps(
            [described, type(backbone).__name__], sort_keys=True
        ).encode(),
    )
    try:
        _ = source.size
    except Exception as error:  # Whatever tracing raises.
        raise ValueError(f"{spec}: {error_message(error)}") from error
    return source


def _load(spec: str, preset: str) -> Any:
    """Returns the backbone, computing in float32."""
    import keras_hub

    try:
        return keras_hub.models.Backbone.from_preset(preset, dtype="float32")
    except Exception as error:  # Of the hubs, of Keras, of HDF5.
        words = error_message(error)
        if pathlib.Path(preset).exists():
            raise ValueError(f"{spec}: cannot be loaded: {words}") from error
        raise OSError(
            f"{spec}: cannot be downloaded: {words}; fetch the preset's files and give "
            "their directory"
        ) from error


def _settings(
    spec: str, preset: str, backbone: Any, assignments: Sequence[str]
) -> GraphSettings:
    """Returns the settings of the preset's image converter, and the user's."""
    import keras_hub

    known: dict[str, Any] = {}
    image: dict[str, Any] = {}
    try:
        converter = keras_hub.layers.ImageConverter.from_preset(preset)
    except Exception:  # Not every preset has one; which error says so is not fixed.
        converter = None
    if converter is not None:
        known, image = _translate(converter)
    shape = _image_shape(backbone)
    if shape is not None and shape[0] != shape[1]:
        raise ValueError(f"{spec}: expected square images, got {shape}")
    fixed = shape[0] if shape is not None else None
    if fixed:
        image["size"] = fixed
    defaults = {"size": 224, "antialias": False}
    named = {f"image.{name}" for name in image}
    try:
        config = GraphConfig(
            image=ImageConfig(**defaults | image), layout="nhwc", **known
        )
        settings = GraphSettings(
            override_all(config, assignments),
            frozenset({*known, *named, *paths_of(assignments), "channel_order"}),
        )
        return settings.with_size(fixed or 0)
    except ValueError as error:
        raise ValueError(f"{spec}: {error}") from error


def _translate(converter: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns an image converter's settings, of the graph and of the image."""
    # KerasHub cuts no margin off; where it squeezes, the largest square is taken.
    image: dict[str, Any] = {
        "antialias": bool(converter.antialias),
        "crop_fraction": 1.0,
    }
    size = converter.image_size
    if size is not None and size[0] == size[1]:
        image["size"] = int(size[0])
    if converter.interpolation in ("bilinear", "bicubic"):
        image["interpolation"] = converter.interpolation
    # x * scale + offset, written as (x / 255 - mean) / stddev.
    scales, offsets = (
        np.broadcast_to(default if value is None else value, 3).astype(float)
        for value, default in ((converter.scale, 1.0), (converter.offset, 0.0))
    )
    stddev = 1 / (255 * scales)
    known = {
        "pixel_mean": tuple(float(mean) for mean in -offsets * stddev),
        "pixel_stddev": tuple(float(each) for each in stddev),
    }
    return known, image


def _image_shape(backbone: Any) -> tuple[int | None, ...] | None:
    """Returns height and width of the images; None if the network leaves them open."""
    inputs = backbone.input
    if isinstance(inputs, dict):
        named = [inputs[name] for name in ("images", "pixel_values") if name in inputs]
        inputs = named[0] if named else next(iter(inputs.values()))
    sides = tuple(inputs.shape[1:3])
    return None if None in sides else sides


def _embed(backbone: Any, images: Any, pooling: str) -> Any:
    """Returns the embeddings [B,D] of scaled images."""
    if hasattr(backbone, "get_vision_embeddings"):
        return tf.cast(backbone.get_vision_embeddings(images), tf.float32)
    inputs = backbone.input
    given = dict.fromkeys(inputs, images) if isinstance(inputs, dict) else images
    output = backbone(given, training=False)
    if pooling == "auto":
        has_token = type(backbone).__name__ in _CLASS_TOKEN
        has_token = has_token and getattr(backbone, "use_class_token", True)
        rank = len(output.shape)
        pooling = {2: "auto", 3: "first" if has_token else "mean"}.get(rank, "mean")
    return pool(output, "nhwc", pooling)
