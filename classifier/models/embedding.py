"""The embedding of an image: the input of a network's last layer, before dropout."""

from __future__ import annotations

from typing import Any

import keras

from classifier.models import variants

LOGITS, EMBEDDING = "logits", "embedding"


def with_embedding(model: keras.Model) -> keras.Model:
    """Returns the network with two outputs, `logits` [B,K] and `embedding` [B,D].

    Both are float32; the layers are the model's own. There is no embedding if features
    are not pooled before the last layer.

    Args:
        model: Network of `factory.build_network`.
    """
    if model.name.startswith(variants.PREFIX):
        features = _find_features(model)
        outputs = {LOGITS: model.output}
    else:
        network = next(layer for layer in model.layers if _is_network(layer))
        inner = _find_features(network)
        standardized = model.get_layer("standardize").output
        ends = [network.outputs[0], *([] if inner is None else [inner])]
        logits, *found = keras.Model(network.inputs, ends)(standardized)
        features = found[0] if found else None
        outputs = {LOGITS: keras.ops.cast(logits, "float32")}
    if features is not None:
        outputs[EMBEDDING] = keras.ops.cast(features, "float32")
    return keras.Model(model.input, outputs, name=model.name)


def _is_network(layer: Any) -> bool:
    return isinstance(layer, keras.Model)


def _find_features(network: keras.Model) -> Any:
    """Returns the pooled features [B,D] that the last weights multiply, or None."""
    layers = list(network.layers)
    while not layers[-1].weights:  # Reshapes of the logits.
        layers.pop()
    features = layers.pop().input
    if isinstance(layers[-1], keras.layers.Dropout):
        features = layers[-1].input
    if len(features.shape) == 4 and tuple(features.shape[1:3]) == (1, 1):
        features = keras.ops.squeeze(features, axis=(1, 2))
    return features if len(features.shape) == 2 else None
