"""Weights to start training from: a classifier of ours, or a published file.

  PATH                    a directory that `teacher.train` or `student.train` has made
  resnet_rs_h5:PATH       a weights file of `tf_keras.applications.resnet_rs`, random
                          or published

A tensor that does not fit is named, and nothing is taken over. The head, the last
dense layer, may stay fresh, for other classes.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import h5py
import keras
import numpy as np
from etils import epath
from numpy.typing import NDArray

from classifier.data.class_names import check_same_classes
from classifier.export.facts import MODEL, read_facts
from classifier.models.config import ModelConfig
from classifier.models.factory import build_network, is_weight, named_variables
from stage import artifact

H5_PREFIX = "resnet_rs_h5:"
#: Kernel and bias.
HEAD_TENSORS = 2

Arrays = dict[str, NDArray[Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class InitialWeights:
    """Tensors to start from, under the names that `variable_names` gives ours.

    Attributes:
        spec: What the user asked for.
        fingerprint: Of the content.
        arrays: By name; one that no network of ours has keeps its own.
    """

    spec: str
    fingerprint: str
    arrays: Arrays


def open_weights(
    spec: str, *, class_names: Sequence[str], new_head: bool
) -> InitialWeights:
    """Reads the weights that `spec` names.

    Args:
        spec: See above.
        class_names: Of the network to come; a classifier's must be the same, unless
            its head is not taken over.
        new_head: Whether the head stays fresh.

    Raises:
        ValueError: If it is nothing to start from.
        FileNotFoundError: If it is not there.
    """
    if spec.startswith(H5_PREFIX):
        return _open_h5(spec)
    path = artifact.require_complete(spec, "init_from")
    facts = read_facts(path)
    if not new_head:
        try:
            check_same_classes(facts["class_names"], class_names, spec)
        except ValueError as error:
            raise ValueError(f"{error}; --new_head starts a fresh one") from error
    return InitialWeights(
        spec=spec,
        fingerprint=facts["fingerprint"],
        arrays=_read_classifier(path, num_classes=len(facts["class_names"])),
    )


def take_over(model: keras.Model, weights: InitialWeights, *, new_head: bool) -> None:
    """Assigns the weights to the model, all or, if one does not fit, none.

    Raises:
        ValueError: With the tensor that does not fit.
    """
    head = {id(v) for v in model.trainable_variables[-HEAD_TENSORS:]}
    left = dict(weights.arrays)
    assignments = []
    for name, variable in named_variables(model).items():
        if not is_weight(variable):
            continue
        array = left.pop(name, None)
        if id(variable) in head and new_head:
            continue
        if array is None or array.shape != tuple(variable.shape):
            got = "none" if array is None else array.shape
            hint = "; --new_head starts a fresh one" if id(variable) in head else ""
            raise ValueError(
                f"{weights.spec}: expected {name} of shape {tuple(variable.shape)}, "
                f"got {got}{hint}"
            )
        assignments.append((variable, array))
    if left:
        name, array = next(iter(left.items()))
        raise ValueError(
            f"{weights.spec}: the network to train has no {name}, the file has one of "
            f"shape {array.shape}, as {len(left)} tensors in all"
        )
    for variable, array in assignments:
        variable.assign(array)


def _read_classifier(path: epath.Path, *, num_classes: int) -> Arrays:
    """Rebuilds the network that `config.json` describes, and loads its weights."""
    config = artifact.read_json(path / artifact.CONFIG)["config"]
    model = build_network(
        ModelConfig(**config["model"]),
        image_size=config["image"]["size"],
        num_classes=num_classes,
    )
    model.load_weights(str(path / MODEL))
    named = named_variables(model)
    return {name: np.asarray(v) for name, v in named.items() if is_weight(v)}


def _open_h5(spec: str) -> InitialWeights:
    path = epath.Path(spec.removeprefix(H5_PREFIX))
    if not path.exists():
        raise FileNotFoundError(f"{spec}: no such file")
    content = path.read_bytes()
    arrays: Arrays = {}

    def add(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            arrays[our_name(name)] = np.asarray(item)

    try:
        with path.open("rb") as stream, h5py.File(stream, "r") as file:
            # A saved model has its optimizer's state beside its weights.
            file.get("model_weights", file).visititems(add)
    except (OSError, TypeError) as error:
        raise ValueError(f"{spec}: is no HDF5 file of weights: {error}") from error
    return InitialWeights(
        spec=spec, fingerprint=artifact.fingerprint([content]), arrays=arrays
    )


#: Parts of a bottleneck there and here. The first batch-norm lacks an underscore
#: there, and always will: published files have it so.
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


def our_name(name: str) -> str:
    """Returns our path of a tensor of `tf_keras.applications.resnet_rs`.

    Args:
        name: As in "BlockGroup2__block_0__conv_1/kernel:0", in any group. What is no
            tensor of a ResNet-RS keeps its name.
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
