"""ONNX files that others made: reading them, and what their graphs may do.

ONNX's own operators compute and nothing else, and ONNX Runtime loads no library that a
file names. What is refused here is what a file can say beyond them: operators of other
domains, functions, and tensors that are kept in other files.
"""

from __future__ import annotations

import importlib.util
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from etils import epath
from numpy.typing import NDArray

from classifier.export.facts import ClassifierFacts
from classifier.models.embedding import EMBEDDING, LOGITS
from stage import artifact
from stage.extras import install_extra
from stage.typed_json import error_message, shown

#: Network of a classifier of the kind `onnx`.
NETWORK = "network.onnx"
PIXELS = "pixels"
#: Domains of operators: ONNX's own, by two names, and those that ONNX Runtime writes
#: when it optimizes a graph.
DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
#: An operator of these domains that reads a file.
_READING = "EPContext"
#: Largest file, tensors included: what a protocol buffer can hold.
MAX_BYTES = 2**31 - 1
#: Oldest version of ONNX's operators that ONNX Runtime knows.
MIN_OPSET = 7


def require_packages() -> None:
    """Raises ValueError unless the packages of the extra `[onnx]` are installed."""
    for package in ("onnx", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise ValueError(
                f"ONNX needs the package {package}: {install_extra('onnx')}"
            )


def read_model(path: epath.PathLike) -> Any:
    """Returns the ONNX model of a local file, with the tensors that are beside it.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it is no ONNX model, or could do more than compute.
    """
    model = parse(_read_bytes(path), str(path))
    _load_tensors(model, pathlib.Path(path))
    return model


def parse(content: bytes, name: str) -> Any:
    """Returns a checked ONNX model; `name` is what messages call it.

    Its tensors may still be in other files.

    Raises:
        ValueError: If it is no ONNX model, or could do more than compute.
    """
    require_packages()
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.ModelProto.FromString(content)
    except DecodeError as error:
        raise ValueError(f"{name}: expected an ONNX model, got {error}") from error
    if not all(isinstance(text, str) for text in _names(model)):
        raise ValueError(f"{name}: expected an ONNX model, got names that are no text")
    opsets = {opset.domain: opset.version for opset in model.opset_import}
    version = opsets.get("", opsets.get("ai.onnx", 0))
    if not model.graph.node or version < MIN_OPSET:
        raise ValueError(
            f"{name}: expected an ONNX model of operator set {MIN_OPSET} or later, got "
            f"{len(model.graph.node)} operators of set {version}"
        )
    _check_operators(model, name)
    return model


def check_network(directory: epath.PathLike, facts: ClassifierFacts) -> None:
    """Raises ValueError unless `network.onnx` is the network of these facts."""
    path = epath.Path(directory) / NETWORK
    if not path.exists():
        raise ValueError(f"{directory}: expected {NETWORK}, found none")
    content = _read_bytes(path)
    facts.check_fingerprint([file_weights(content)], path)
    model = parse(content, str(path))
    if any(is_external(tensor) for tensor in tensors(model)):
        raise ValueError(f"{path}: expected all tensors in the file")
    inputs = {value.name: shape(value) for value in model.graph.input}
    outputs = {value.name: shape(value) for value in model.graph.output}
    side, classes = facts.image.size, len(facts.class_names)
    found = inputs.get(PIXELS, ()), outputs.get(LOGITS, ()), outputs.get(EMBEDDING, ())
    if (
        len(inputs) != 1
        or found[0][1:] != (side, side, 3)
        or found[1][1:] != (classes,)
        or len(found[2]) != 2
        or not found[2][1]
    ):
        raise ValueError(
            f"{path}: expected {PIXELS} [N,{side},{side},3] to {LOGITS} [N,{classes}] "
            f"and {EMBEDDING} [N,D], got {shown(inputs)} to {shown(outputs)}"
        )


def embedding_size(directory: epath.PathLike) -> int:
    """Returns the number of features D of a classifier's checked network."""
    path = epath.Path(directory) / NETWORK
    model = parse(_read_bytes(path), str(path))
    sizes = {value.name: shape(value)[-1] for value in model.graph.output}
    return sizes[EMBEDDING]


def file_weights(content: bytes) -> NDArray[np.uint8]:
    """Returns a file as the weights that `facts.fingerprint` identifies."""
    return np.frombuffer(content, np.uint8)


def shape(value: Any) -> tuple[int, ...]:
    """Returns the shape of a graph's input or output; 0 where it is not fixed."""
    dimensions = value.type.tensor_type.shape.dim
    return tuple(int(dimension.dim_value) for dimension in dimensions)


def _read_bytes(path: epath.PathLike) -> bytes:
    local = os.fspath(path)
    if "://" not in local and os.path.exists(local) and not os.path.isfile(local):
        raise ValueError(f"{path}: expected a regular file")
    found = artifact.reach(path)
    if not found.exists():
        raise FileNotFoundError(f"{path}: no such file")
    size = found.stat().length
    if size > MAX_BYTES:
        raise ValueError(f"{path}: expected at most {MAX_BYTES:,} bytes, got {size:,}")
    return found.read_bytes()


def _check_operators(model: Any, name: str) -> None:
    """Raises ValueError if a graph has operators that are not listed here."""
    if model.functions:
        names = ", ".join(sorted({shown(f.name) for f in model.functions})[:3])
        raise ValueError(
            f"{name}: expected operators only, got the functions {names}; "
            "onnx.inliner.inline_local_functions writes a model without them"
        )
    nodes = [node for graph in graphs(model) for node in graph.node]
    other = {
        f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        for node in nodes
        if node.domain not in DOMAINS or node.op_type == _READING
    }
    if other:
        raise ValueError(
            f"{name}: expected operators of ONNX, got {shown(sorted(other)[:3])}, "
            "which are not loaded"
        )


def _names(model: Any) -> Iterator[Any]:
    """Yields all names; protobuf gives those that are not UTF-8 as bytes."""
    for graph in graphs(model):
        for value in (*graph.input, *graph.output, *graph.value_info):
            yield value.name
            yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)
        for node in graph.node:
            yield from (node.name, node.op_type, node.domain)
            yield from (*node.input, *node.output)
            yield from (attribute.name for attribute in node.attribute)
    yield from (tensor.name for tensor in tensors(model))
    yield from (opset.domain for opset in model.opset_import)


def graphs(model: Any) -> Iterator[Any]:
    """Yields the graph of a model and all graphs inside its nodes."""
    pending = [model.graph]
    while pending:
        graph = pending.pop()
        yield graph
        for attribute in (a for node in graph.node for a in node.attribute):
            pending += [*attribute.graphs]
            pending += [attribute.g] if attribute.HasField("g") else []


def tensors(model: Any) -> Iterator[Any]:
    """Yields all constant tensors of a model."""
    for graph in graphs(model):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        for attribute in (a for node in graph.node for a in node.attribute):
            yield from attribute.tensors
            if attribute.HasField("t"):
                yield attribute.t
            sparse_tensors = [*attribute.sparse_tensors]
            if attribute.HasField("sparse_tensor"):
                sparse_tensors.append(attribute.sparse_tensor)
            for sparse in sparse_tensors:
                yield from (sparse.values, sparse.indices)


def is_external(tensor: Any) -> bool:
    """Whether the numbers of a tensor are in another file."""
    return bool(tensor.data_location == tensor.EXTERNAL or tensor.external_data)


def _load_tensors(model: Any, path: pathlib.Path) -> None:
    """Reads tensors from the files beside a model into it."""
    from onnx import external_data_helper

    total = model.ByteSize()
    for tensor in filter(is_external, tensors(model)):
        entries = {entry.key: entry.value for entry in tensor.external_data}
        name = entries.get("location", "")
        file = path.parent / name
        # A link could lead anywhere.
        is_beside = name and pathlib.PurePath(name).name == name
        if not is_beside or file.is_symlink() or not file.is_file():
            raise ValueError(
                f"{path}: expected tensors in a file beside it, got {shown(name)}"
            )
        length = entries.get("length", "")
        total += int(length) if length.isdecimal() else file.stat().st_size
        if total > MAX_BYTES:
            raise ValueError(
                f"{path}: expected at most {MAX_BYTES:,} bytes with its tensors, got "
                f"{total:,} or more; a network of so many weights does not fit"
            )
        try:
            external_data_helper.load_external_data_for_tensor(tensor, str(path.parent))
        except Exception as error:  # Offsets and lengths of any kind.
            words = error_message(error)
            raise ValueError(f"{path}: tensors in {shown(name)}: {words}") from error
