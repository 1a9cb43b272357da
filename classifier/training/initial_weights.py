"""Initial weights from a trained classifier or from a published file.

  PATH                a classifier's directory, of `teacher.train` or `student.train`
  resnet_rs_h5:PATH   a weights file of `tf_keras.applications.resnet_rs`

Either all weights are loaded, or none if a tensor does not fit. For other classes the
head, the last dense layer, can keep its random weights.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import h5py
import keras
import numpy as np
from etils import epath

from classifier.data.class_names import check_same_classes
from classifier.export.facts import read_facts
from classifier.export.saved_classifier import rebuild_network
from classifier.models.factory import is_weight, named_variables
from classifier.training.checkpoint import Arrays
from stage import artifact
from stage.typed_json import error_message

H5_PREFIX = "resnet_rs_h5:"

#: Largest size of all tensors, as a multiple of the file's: weights hardly compress.
_MAX_INFLATION = 16
_HINT = "--new_head starts with a random one"


def load(
    model: keras.Model, spec: str, *, class_names: Sequence[str], new_head: bool
) -> str:
    """Loads initial weights into a model; returns the fingerprint of their content.

    `spec` is the value of `--init_from` (see the module). With `new_head` the head
    keeps its random weights; otherwise a classifier must have the classes
    `class_names`.

    Raises:
        ValueError: If it is neither a classifier nor a weights file, or a tensor does
            not fit, which is named.
        FileNotFoundError: If it does not exist.
    """
    if spec.startswith(H5_PREFIX):
        fingerprint, arrays = _read_h5(spec)
    else:
        fingerprint, arrays = _read_classifier(spec, None if new_head else class_names)
    _assign(model, arrays, spec=spec, new_head=new_head)
    return fingerprint


def _assign(model: keras.Model, arrays: Arrays, *, spec: str, new_head: bool) -> None:
    """Assigns tensors to a model by `named_variables`; if one does not fit, none."""
    head = {id(v) for v in model.trainable_variables[-2:]}  # Kernel and bias.
    unused = dict(arrays)
    assignments = []
    for name, variable in named_variables(model).items():
        if not is_weight(variable):
            continue
        array = unused.pop(name, None)
        if id(variable) in head and new_head:
            continue
        if array is None or array.shape != tuple(variable.shape):
            got = "none" if array is None else array.shape
            hint = f"; {_HINT}" if id(variable) in head else ""
            raise ValueError(
                f"{spec}: expected {name} of shape {tuple(variable.shape)}, got "
                f"{got}{hint}"
            )
        assignments.append((variable, array))
    if unused:
        name, array = next(iter(unused.items()))
        raise ValueError(
            f"{spec}: expected tensors of the network to train only, got {len(unused)} "
            f"others, such as {name} of shape {array.shape}"
        )
    for variable, array in assignments:
        variable.assign(array)


def _read_classifier(
    spec: str, class_names: Sequence[str] | None
) -> tuple[str, Arrays]:
    """Returns a classifier's fingerprint, and the weights of its rebuilt network.

    Its classes must be `class_names`; None for any.
    """
    path = artifact.require_complete(spec, "init_from")
    facts = read_facts(path)
    if class_names is not None:
        try:
            check_same_classes(facts.class_names, class_names, spec)
        except ValueError as error:
            raise ValueError(f"{error}; {_HINT}") from error
    named = named_variables(rebuild_network(path))
    arrays = {name: np.asarray(v) for name, v in named.items() if is_weight(v)}
    return facts.fingerprint, arrays


def _read_h5(spec: str) -> tuple[str, Arrays]:
    """Returns a weights file's fingerprint, and its tensors by `variable_name`."""
    path = epath.Path(spec.removeprefix(H5_PREFIX))
    if not path.exists():
        raise FileNotFoundError(f"{spec}: no such file")
    artifact.check_files(path)
    content = path.read_bytes()
    arrays: Arrays = {}
    allowed_bytes = _MAX_INFLATION * len(content)

    def add(name: str, item: Any) -> None:
        nonlocal allowed_bytes
        if not isinstance(item, h5py.Dataset):
            return
        allowed_bytes -= item.nbytes
        if item.external or item.is_virtual or allowed_bytes < 0:
            raise ValueError(f"{name} of shape {item.shape} is not in the file")
        arrays[variable_name(name)] = np.asarray(item)

    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            # A saved model also has the state of its optimizer. A link may lead to
            # another file.
            link = file.get("model_weights", getlink=True)
            is_saved_model = isinstance(link, h5py.HardLink)
            (file["model_weights"] if is_saved_model else file).visititems(add)
    except Exception as error:  # What is damaged raises nearly anything.
        words = error_message(error)
        raise ValueError(f"{spec}: expected an HDF5 weights file: {words}") from error
    return artifact.fingerprint([content]), arrays


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
