"""An exported SavedModel, read in parts: what decodes the images, and the network."""

from __future__ import annotations

import contextlib
import pathlib
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
from etils import epath
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

_GRAPH = "saved_model.pb"
_VARIABLES = "variables"


def check_signatures(export: epath.PathLike, num_classes: int) -> None:
    """Reads what a SavedModel can do, without loading it.

    Raises:
        ValueError: If it is none, or not that of a classifier with so many classes.
    """
    path = epath.Path(export)
    signatures = _read(path).meta_graphs[0].signature_def
    if not (path / _VARIABLES / "variables.index").exists():
        raise ValueError(f"{export}: no variables/variables.index in it")
    names = sorted(name for name in signatures if not name.startswith("__"))
    for name, output in (("preprocess", "pixels"), ("pixels", "logits")):
        if name not in names or output not in signatures[name].outputs:
            raise ValueError(
                f"{export}: expected a signature {name!r} with the output {output!r}, "
                f"got {', '.join(names)}; teacher.train exports one"
            )
    found = signatures["pixels"].outputs["logits"].tensor_shape.dim[-1].size
    if found != num_classes:
        raise ValueError(
            f"{export}: expected logits of {num_classes} classes, got {found}"
        )


def load_preprocess(export: epath.PathLike) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the signature `preprocess`, string [B] to uint8 [B,S,S,3], by itself.

    The network's variables are not read: they may be gigabytes.
    """
    without_variables = tf.saved_model.LoadOptions(experimental_skip_checkpoint=True)
    loaded = tf.saved_model.load(str(export), options=without_variables)
    preprocess = loaded.signatures["preprocess"]
    # By name: given by position, TensorFlow first writes the images into the words of
    # an error, which takes longer than to decode them.
    return lambda encoded: preprocess(encoded=encoded)["pixels"]


@contextlib.contextmanager
def serving(signature: str, export: epath.PathLike) -> Iterator[str]:
    """Yields a directory where the same SavedModel has another default signature.

    Args:
        signature: To be the default.
        export: On the local disk; its variables are not copied.
    """
    path = pathlib.Path(export)
    saved = _read(epath.Path(export))
    signatures = saved.meta_graphs[0].signature_def
    signatures["serving_default"].CopyFrom(signatures[signature])
    with tempfile.TemporaryDirectory() as scratch:
        directory = pathlib.Path(scratch)
        (directory / _GRAPH).write_bytes(saved.SerializeToString())
        (directory / _VARIABLES).symlink_to((path / _VARIABLES).resolve())
        yield scratch


def _read(export: epath.Path) -> Any:
    try:
        content = (export / _GRAPH).read_bytes()
        saved = saved_model_pb2.SavedModel.FromString(content)
    except (OSError, DecodeError) as error:
        raise ValueError(f"{export} is no SavedModel: {error}") from error
    if len(saved.meta_graphs) != 1:
        raise ValueError(f"{export}: expected one graph, got {len(saved.meta_graphs)}")
    return saved
