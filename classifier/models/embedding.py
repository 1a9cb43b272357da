"""The embedding of an image: the input of a network's last layer, before dropout."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from classifier.models import variants

LOGITS, EMBEDDING = "logits", "embedding"


def with_embedding(model: keras.Model) -> keras.Model:
    """Returns the network with two outputs, `logits` [B,K] and `embedding` [B,D].

    Both are float32; the layers are the model's own. There is no embedding if features
    are not pooled before the last layer.

    Args:
        model: Network of `factory.build_network`.
    """
    network = _inner_network(model)
    features = _find_features(network)
    if network is model:
        outputs = {LOGITS: model.output}
    else:
        before = model.layers[model.layers.index(network) - 1].output
        ends = [network.outputs[0], *([] if features is None else [features])]
        logits, *found = keras.Model(network.inputs, ends)(before)
        features = found[0] if found else None
        outputs = {LOGITS: keras.ops.cast(logits, "float32")}
    if features is not None:
        outputs[EMBEDDING] = keras.ops.cast(features, "float32")
    return keras.Model(model.input, outputs, name=model.name)


def head_layer(model: keras.Model) -> keras.layers.Layer | None:
    """Returns the layer that multiplies the embedding; None if there is no embedding.

    Its weights are a kernel [D,K], or [1,1,D,K] of a convolution, and a bias [K].
    """
    network = _inner_network(model)
    layer = _layers_to_head(network)[-1]
    if _find_features(network) is None or len(layer.weights) != 2:
        return None
    return layer


def head_weights(model: keras.Model) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Returns the kernel [D,K] and bias [K] of `head_layer`, None if there is none."""
    layer = head_layer(model)
    if layer is None:
        return None
    kernel, bias = layer.get_weights()
    return kernel.reshape(kernel.shape[-2:]), bias


def set_head(
    model: keras.Model, kernel: NDArray[np.float32], bias: NDArray[np.float32]
) -> None:
    """Replaces the weights of `head_layer`, of which there must be one."""
    layer = head_layer(model)
    if layer is None:
        raise ValueError(f"{model.name}: no pooled features before the last layer")
    layer.set_weights([kernel.reshape(layer.weights[0].shape), bias])


def embedding_weights(model: keras.Model) -> list[Any]:
    """Returns the variables in Keras's order, without those of `head_layer`."""
    head = head_layer(model)
    in_head = {id(variable) for variable in head.weights} if head else set()
    return [v for v in model.weights if id(v) not in in_head]


def embedding_content(model: keras.Model) -> Iterator[bytes]:
    """Yields what determines a network's embedding of pixels: scaling and weights."""
    yield json.dumps([model.name, list(_scaling(model))], sort_keys=True).encode()
    for variable in embedding_weights(model):
        yield np.asarray(variable).tobytes()


def _scaling(model: keras.Model) -> Iterator[tuple[str, Any]]:
    """Yields type and settings of the operations before the first one with weights."""
    for operation in model.operations:
        if getattr(operation, "weights", ()):
            return
        settings = operation.get_config().items()
        counted = {k: v for k, v in settings if k not in ("name", "dtype", "trainable")}
        yield type(operation).__name__, json.loads(json.dumps(counted, default=str))


def _inner_network(model: keras.Model) -> keras.Model:
    """Returns the part of a network behind the scaling of pixels, if it is a part."""
    if variants.is_own(model.name):
        return model
    return next((layer for layer in model.layers if _is_network(layer)), model)


def _is_network(layer: Any) -> bool:
    return isinstance(layer, keras.Model)


def _layers_to_head(network: keras.Model) -> list[keras.layers.Layer]:
    """Returns the layers up to the last one with weights."""
    layers = list(network.layers)
    while not layers[-1].weights:  # Reshapes of the logits.
        layers.pop()
    return layers


def _find_features(network: keras.Model) -> Any:
    """Returns the pooled features [B,D] that the last weights multiply, or None."""
    layers = _layers_to_head(network)
    features = layers.pop().input
    if isinstance(layers[-1], keras.layers.Dropout):
        features = layers[-1].input
    if len(features.shape) == 4 and tuple(features.shape[1:3]) == (1, 1):
        features = keras.ops.squeeze(features, axis=(1, 2))
    return features if len(features.shape) == 2 else None
