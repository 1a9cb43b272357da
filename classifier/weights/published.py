"""Trained weights by name, and how they get into a network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from classifier.data.config import ImageConfig
from classifier.models.config import ModelConfig
from classifier.models.factory import is_weight, named_variables
from classifier.models.variants import is_resnet_rs
from classifier.weights.files import Arrays

HEAD_HINT = "--new_head makes a new one"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Weights:
    """The weights of a trained network.

    Attributes:
        spec: What the user calls them, for messages.
        model: Network and the scaling of its pixels; what else it holds is a recipe's.
        image: Preprocessing that the network was evaluated with.
        arrays: Tensors by the names of `name_variables`.
        fingerprint: SHA-256 of their content.
        origin: Description of their source: `spec`, `file`, `sha256` and, where known,
            `revision`, `url` and `license`.
        name_variables: Function from such a network to its variables by name.
    """

    spec: str
    model: ModelConfig
    image: ImageConfig
    arrays: Arrays
    fingerprint: str
    origin: dict[str, str]
    name_variables: Callable[[keras.Model], dict[str, Any]] = named_variables


def assign(model: keras.Model, weights: Weights, *, new_head: bool = False) -> None:
    """Assigns the tensors to a network; if one does not fit, none.

    With `new_head` the last layer keeps its weights.

    Raises:
        ValueError: If the network is another one, or a tensor does not fit, which is
            named.
    """
    check_network(weights, model.name)
    head = {id(v) for v in model.trainable_variables[-2:]}  # Kernel and bias.
    unused = dict(weights.arrays)
    assignments = []
    for name, variable in weights.name_variables(model).items():
        if not is_weight(variable):
            continue
        array = unused.pop(name, None)
        if id(variable) in head and new_head:
            continue
        if array is None or array.shape != tuple(variable.shape):
            got = "none" if array is None else array.shape
            hint = f"; {HEAD_HINT}" if id(variable) in head else ""
            raise ValueError(
                f"{weights.spec}: expected {name} of shape {tuple(variable.shape)} for "
                f"{model.name}, got {got}{hint}"
            )
        with np.errstate(over="ignore"):  # Of float64.
            values = array.astype(np.float32, copy=False)
        if not np.isfinite(values).all():
            raise ValueError(f"{weights.spec}: {name} is not finite as float32")
        assignments.append((variable, values))
    if unused:
        name, array = next(iter(unused.items()))
        raise ValueError(
            f"{weights.spec}: expected tensors of {model.name} only, got {len(unused)} "
            f"others, such as {name} of shape {array.shape}"
        )
    for variable, values in assignments:
        variable.assign(values)


def check_network(weights: Weights, name: str) -> None:
    """Raises ValueError unless weights are those of the network `name`."""
    found = weights.model.name
    if name != found:
        # The published networks have their full width, other than the preset `tiny`.
        full = " --set=model.width_multiplier=1" if is_resnet_rs(found) else ""
        raise ValueError(
            f"{weights.spec}: expected weights of {name}, got those of {found}; "
            f"--set=model.name={found}{full} is their network"
        )
