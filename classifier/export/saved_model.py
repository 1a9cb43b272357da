"""Writing a SavedModel; reading it in parts: signatures, image decoding, network."""

from __future__ import annotations

import contextlib
import itertools
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from etils import epath
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from tensorflow.core.protobuf import saved_model_pb2

from classifier.data.class_names import check_same_classes
from classifier.export import onnx_file
from classifier.export.allowed_operations import check_operations
from classifier.export.facts import EXPORT, ONNX, ClassifierFacts, read_facts
from classifier.models.embedding import EMBEDDING, LOGITS
from stage import artifact, typed_json

GRAPH = "saved_model.pb"
VARIABLES = "variables"
#: All files of a SavedModel that `saved_classifier` writes. Of somebody else's, others
#: may be links to anything.
FILES = (
    GRAPH,
    "fingerprint.pb",
    f"{VARIABLES}/variables.index",
    f"{VARIABLES}/variables.data-00000-of-00001",
)
#: Type and shape of what is no weight: the state of a random generator.
_RANDOM_STATE = (np.int64, (2,))


@contextlib.contextmanager
def writing(path: epath.Path) -> Iterator[None]:
    """Makes place for a SavedModel that the block writes, and syncs it.

    What a killed run has left there is deleted: TensorFlow would add to it.

    Raises:
        OSError: If it cannot be written.
    """
    try:
        if path.is_dir():  # A file there is not ours.
            path.rmtree()
        yield
    except tf.errors.OpError as error:  # Of TensorFlow's file system.
        raise OSError(f"cannot write {path}: {error.message}") from error
    artifact.sync(path)


def read_ensemble_facts(directories: Sequence[epath.PathLike]) -> list[ClassifierFacts]:
    """Returns the facts of classifiers that can be averaged.

    Raises:
        ValueError: If a classifier is incomplete or unsuitable, or the classes differ.
        FileNotFoundError: If a directory does not exist.
    """
    facts = []
    for directory in directories:
        path = artifact.require_complete(directory, "classifier")
        facts.append(read_facts(path))
        facts[-1].require_network(directory)
        class_names = facts[-1].class_names
        check_same_classes(facts[0].class_names, class_names, str(directory))
        if facts[-1].network == ONNX:
            _check_preprocess(path / EXPORT)
            onnx_file.check_network(path, facts[-1])
            continue
        check_signatures(path / EXPORT, len(class_names))
        facts[-1].check_fingerprint(_read_weights(path / EXPORT), path / EXPORT)
    return facts


def check_signatures(export: epath.PathLike, num_classes: int) -> None:
    """Raises ValueError unless a SavedModel, which is not loaded, is a classifier's."""
    graph = _check_outputs(export, {"preprocess": "pixels", "pixels": LOGITS})
    signature = graph.signature_def["pixels"]
    found = signature.outputs[LOGITS].tensor_shape.dim[-1].size
    if found != num_classes:
        raise ValueError(
            f"{export}: expected logits of {num_classes} classes, got {found}"
        )


def _check_preprocess(export: epath.PathLike) -> None:
    """Raises ValueError unless a SavedModel turns images into pixels."""
    _check_outputs(export, {"preprocess": "pixels"})


def _check_outputs(export: epath.PathLike, outputs: dict[str, str]) -> Any:
    """Returns the only graph of a SavedModel, whose signatures have these outputs."""
    path = epath.Path(export)
    (graph,) = _read(path).meta_graphs
    signatures = graph.signature_def
    if not (path / VARIABLES / "variables.index").exists():
        raise ValueError(f"{export}: expected variables/variables.index, found none")
    names = sorted(name for name in signatures if not name.startswith("__"))
    for name, output in outputs.items():
        if name not in names or output not in signatures[name].outputs:
            raise ValueError(
                f"{export}: expected a signature {name!r} with the output {output!r}, "
                f"got {', '.join(names)}; use a classifier exported by teacher.train "
                "or student.train"
            )
    check_operations(graph, str(export))
    return graph


def load(export: epath.PathLike, options: Any = None) -> Any:
    """Returns a loaded SavedModel; raises ValueError if it is no classifier's.

    Nothing else may load one: its graph runs in this process.
    """
    check_operations(_read(epath.Path(export)).meta_graphs[0], str(export))
    return tf.saved_model.load(str(export), options=options)


def load_preprocess(export: epath.PathLike) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the signature `preprocess` alone: string [B] to uint8 [B,S,S,3].

    The network's variables, possibly gigabytes, are not read.
    """
    without_variables = tf.saved_model.LoadOptions(experimental_skip_checkpoint=True)
    preprocess = load(export, without_variables).signatures["preprocess"]
    # By keyword: for a positional argument TensorFlow first formats the images into
    # an error message, which takes longer than decoding them.
    return lambda encoded: preprocess(encoded=encoded)["pixels"]


def embedding_size(directory: epath.PathLike) -> int:
    """Returns the number of features D of a classifier, 0 if it gives none.

    Classifiers of earlier versions have none, nor do networks without pooled features.
    """
    path = epath.Path(directory)
    if read_facts(path).network == ONNX:
        return onnx_file.embedding_size(path)
    outputs = _read(path / EXPORT).meta_graphs[0].signature_def["pixels"].outputs
    if EMBEDDING not in outputs:
        return 0
    return int(outputs[EMBEDDING].tensor_shape.dim[-1].size)


@contextlib.contextmanager
def serving(
    signature: str, export: epath.PathLike, outputs: Sequence[str] = (LOGITS,)
) -> Iterator[str]:
    """Yields a directory with a local SavedModel under another default signature.

    That has only the named outputs. The variables are linked, not copied.
    """
    path = pathlib.Path(export)
    saved = _read(epath.Path(export))
    check_operations(saved.meta_graphs[0], str(export))
    signatures = saved.meta_graphs[0].signature_def
    default = signatures["serving_default"]
    default.CopyFrom(signatures[signature])
    for name in set(default.outputs) - set(outputs):
        del default.outputs[name]
    with tempfile.TemporaryDirectory() as scratch:
        directory = pathlib.Path(scratch)
        (directory / GRAPH).write_bytes(saved.SerializeToString())
        (directory / VARIABLES).symlink_to((path / VARIABLES).resolve())
        yield scratch


def _read_weights(export: epath.Path) -> Iterator[NDArray[Any]]:
    """Yields a network's weights in the order of Keras."""
    path = export / VARIABLES / "variables"
    try:
        with _on_disk(path.parent) as directory:
            reader = tf.train.load_checkpoint(f"{directory}/{path.name}")
            for index in itertools.count():
                name = f"variables/{index}/.ATTRIBUTES/VARIABLE_VALUE"
                if not reader.has_tensor(name):
                    return
                array = reader.get_tensor(name)
                if (array.dtype, array.shape) != _RANDOM_STATE:
                    yield array
    except Exception as error:  # Damaged files raise nearly anything.
        words = typed_json.error_message(error)
        raise ValueError(f"{path} cannot be read: {words}") from error


@contextlib.contextmanager
def _on_disk(directory: epath.Path) -> Iterator[str]:
    """Yields a local path of a directory of files: of a copy, if it is remote.

    TensorFlow would read a bucket by a client of its own, with other credentials.
    """
    if "://" not in str(directory):
        yield str(directory)
        return
    with tempfile.TemporaryDirectory() as copy:
        for path in directory.iterdir():
            pathlib.Path(copy, path.name).write_bytes(path.read_bytes())
        yield copy


def _read(export: epath.Path) -> Any:
    try:
        content = (export / GRAPH).read_bytes()
        saved = saved_model_pb2.SavedModel.FromString(content)
    except (OSError, DecodeError) as error:
        raise ValueError(f"{export} is no SavedModel: {error}") from error
    if len(saved.meta_graphs) != 1:
        raise ValueError(f"{export}: expected one graph, got {len(saved.meta_graphs)}")
    return saved
