"""Features of a SavedModel from images to vectors, which somebody else exported."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from classifier.export import saved_model
from classifier.features import onnx_graph
from classifier.features.graph_config import (
    GraphConfig,
    check_scaling,
    read_settings,
)
from classifier.features.traced import TracedFeatures
from stage import artifact
from stage.cli import Log
from stage.typed_json import error_message, shown

#: Signature that is called.
_SIGNATURE = "serving_default"


def open_directory(path: str, assignments: Sequence[str], log: Log) -> TracedFeatures:
    """Returns the features of a SavedModel; `log` receives what was assumed.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it could do more than compute, is none of a network of images, or
            a setting does not fit.
    """
    spec = f"saved_model:{path}"
    directory = artifact.reach(path)
    if not directory.exists():
        raise FileNotFoundError(f"{spec}: no such directory")
    artifact.check_files(path)
    settings = read_settings(path, assignments)
    loaded = saved_model.load(path)
    try:
        if _SIGNATURE not in loaded.signatures:
            raise ValueError(
                f"expected a signature {_SIGNATURE!r}, got "
                f"{shown(sorted(loaded.signatures))}"
            )
        function = loaded.signatures[_SIGNATURE]
        name, layout, tensor = _find_input(function, settings.config)
        height, width = tensor.shape[2:] if layout == "nchw" else tensor.shape[1:3]
        if height != width:
            raise ValueError(f"expected square images, got {height} x {width} pixels")
        settings = settings.with_size(height or 0)
        check_scaling(assignments, scales=tensor.dtype != tf.uint8)
        output = _find_output(function, settings.config)
    except ValueError as error:
        raise ValueError(f"{spec}: {error}") from error
    if assumed := settings.assumed(scales=tensor.dtype != tf.uint8):
        log(f"{spec}: assumed {assumed}; --set= changes it")
    config = settings.config

    def embed(pixels: Any) -> Any:
        images = scale(pixels, config, layout=layout, dtype=tensor.dtype)
        # A signature alone would lose its variables.
        outputs = loaded.signatures[_SIGNATURE](**{name: images})
        return pool(outputs[output], layout, config.pooling)

    described = dataclasses.asdict(config)
    graph = (directory / saved_model.GRAPH).read_bytes()
    source = TracedFeatures(
        spec=spec,
        embed=embed,
        image=config.image,
        origin={
            "source": f"saved_model:{directory.name}",
            "settings": described,
        },
        content=json.dumps(described, sort_keys=True).encode() + graph,
    )
    _check(source)
    return source


def scale(pixels: Any, config: GraphConfig, *, layout: str, dtype: Any) -> Any:
    """Returns uint8 pixels [B,S,S,3] as a network's input."""
    if config.channel_order == "bgr":
        pixels = tf.gather(pixels, [2, 1, 0], axis=3)
    if dtype != tf.uint8:
        images = tf.cast(pixels, tf.float32) * tf.constant(config.scale)
        pixels = tf.cast(images + tf.constant(config.offset), dtype)
    return tf.transpose(pixels, [0, 3, 1, 2]) if layout == "nchw" else pixels


def pool(output: Any, layout: str, pooling: str) -> Any:
    """Returns a network's output as embeddings float32 [B,D]."""
    output = tf.cast(output, tf.float32)
    if pooling == "first":
        return output[:, 0]
    if pooling == "mean":
        is_map = len(output.shape) == 4
        places = [2, 3] if is_map and layout == "nchw" else [1, 2]
        return tf.reduce_mean(output, places if is_map else [1])
    return output


def _check(source: TracedFeatures) -> None:
    """Raises ValueError if the network does not run."""
    try:
        size = source.size
    except Exception as error:  # Whatever tracing raises.
        raise ValueError(f"{source.spec}: {error_message(error)}") from error
    if not size:
        raise ValueError(f"{source.spec}: expected a fixed number of features")


def _find_input(function: Any, config: GraphConfig) -> tuple[str, str, Any]:
    """Returns name, layout and specification of the images' input."""
    _, inputs = function.structured_input_signature
    name = config.input or next(iter(inputs), "")
    if len(inputs) != 1 or name not in inputs:
        raise ValueError(
            f"expected one input of images{config.input and f' {config.input!r}'}, got "
            f"{shown(sorted(inputs))}"
        )
    tensor = inputs[name]
    shape, dtype = tensor.shape, tensor.dtype
    if shape.rank != 4 or dtype not in (tf.float32, tf.float16, tf.uint8):
        raise ValueError(
            "expected an input of images [N,3,S,S] or [N,S,S,3] of float32, float16 or "
            f"uint8, got {dtype.name} {shape}"
        )
    if shape[0] is not None:
        raise ValueError(f"expected an input of any number of images, got {shape}")
    return name, onnx_graph.find_layout(tuple(shape), config.layout), tensor


def _find_output(function: Any, config: GraphConfig) -> str:
    """Returns the name of the output that becomes the embedding."""
    outputs = function.structured_outputs
    shapes = {name: tuple(tensor.shape) for name, tensor in outputs.items()}
    name = config.output or onnx_graph.find_vector(shapes)
    if name not in shapes:
        raise ValueError(f"expected an output of {shown(shapes)}, got {shown(name)}")
    onnx_graph.check_pooling(name, shapes[name], config.pooling)
    return name
