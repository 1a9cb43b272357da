"""Files of tensors that others have made: HDF5 and safetensors.

Whatever a file holds, reading it ends with arrays that are in the file itself, or with
a ValueError of one line. Nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import h5py
import numpy as np
import safetensors.numpy
from etils import epath
from numpy.typing import NDArray

from stage import artifact
from stage.typed_json import error_message

Arrays = Mapping[str, NDArray[Any]]

#: Largest size of all tensors, as a multiple of the file's: weights hardly compress.
_MAX_INFLATION = 16
#: First bytes of a global heap of HDF5, and length of its header and an object's.
_HEAP, _HEADER = b"GCOL\1\0\0\0", 16


@dataclasses.dataclass(frozen=True, eq=False)
class Hdf5:
    """The content of an HDF5 file of weights.

    Attributes:
        arrays: Tensors by their paths in the file.
        layers: For each layer with weights, in order, the paths of its tensors; empty
            unless Keras 2 wrote the file.
    """

    arrays: Arrays
    layers: list[list[str]]


def read(spec: str, path: epath.PathLike) -> bytes:
    """Returns the content of a file of weights.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is no regular file.
    """
    found = epath.Path(path)
    if not found.exists():
        raise FileNotFoundError(f"{spec}: no such file")
    artifact.check_files(found)
    return found.read_bytes()


def describe(spec: str, path: epath.PathLike, content: bytes) -> dict[str, str]:
    """Returns the origin of weights in a file, without the folder that it is in."""
    name = epath.Path(path).name
    return {
        "spec": spec.replace(str(path), name),
        "file": name,
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def read_safetensors(spec: str, content: bytes) -> Arrays:
    """Returns the tensors of a safetensors file; raises ValueError if it is broken."""
    with _one_line(spec, "a safetensors file"):
        _check_unique(content)
        return safetensors.numpy.load(content)


def read_hdf5(spec: str, content: bytes) -> Hdf5:
    """Returns the tensors of an HDF5 file; raises ValueError if it is broken.

    Links to other files are not followed.
    """
    arrays: dict[str, NDArray[Any]] = {}
    names: dict[str, list[str]] = {}
    allowed_bytes = _MAX_INFLATION * len(content)

    def add(name: str, item: Any) -> None:
        nonlocal allowed_bytes
        if not isinstance(item, h5py.Dataset):
            names[name] = _names(item, "weight_names")
            return
        allowed_bytes -= item.nbytes
        if item.external or item.is_virtual or allowed_bytes < 0:
            raise ValueError(f"{name} of shape {item.shape} is not in the file")
        if item.dtype.kind not in "fiu":
            raise ValueError(f"{name} holds no numbers but {item.dtype}")
        arrays[name] = np.asarray(item)

    with _one_line(spec, "an HDF5 weights file"), _open_hdf5(content) as file:
        # A saved model also has the state of its optimizer. A link may lead to another
        # file.
        link = file.get("model_weights", getlink=True)
        is_saved_model = isinstance(link, h5py.HardLink)
        root = file["model_weights"] if is_saved_model else file
        root.visititems(add)
        layers = [
            [f"{layer}/{name}" for name in names[layer]]
            for layer in _names(root, "layer_names")
            if names[layer]
        ]
    return Hdf5(arrays, layers)


@contextlib.contextmanager
def _one_line(spec: str, expected: str) -> Iterator[None]:
    """Turns what damaged files raise, which is nearly anything, into a ValueError."""
    try:
        yield
    except Exception as error:
        words = error_message(error)
        raise ValueError(f"{spec}: expected {expected}: {words}") from error


def _names(group: Any, attribute: str) -> list[str]:
    """Returns a list of names; a long one is in several numbered attributes."""
    names: list[str] = []
    parts = [attribute] if attribute in group.attrs else []
    while not parts or parts[-1] != attribute:
        part = f"{attribute}{len(parts)}"
        if part not in group.attrs:
            break
        parts.append(part)
    for part in parts:
        names += [n.decode() if isinstance(n, bytes) else n for n in group.attrs[part]]
    return names


def _open_hdf5(content: bytes) -> Any:
    _check_heaps(content)
    return h5py.File(io.BytesIO(content), "r")


def _check_heaps(content: bytes) -> None:
    """Raises ValueError for a heap of texts that HDF5 would search without end.

    In its global heaps an object of index 0 is free space, whose length includes its
    header; with a length of 0 the next object is the same one.
    """
    start = content.find(_HEAP)
    while start >= 0:
        length = int.from_bytes(content[start + 8 : start + 16], "little")
        at, end = start + _HEADER, min(start + length, len(content))
        while at + _HEADER <= end:
            index = int.from_bytes(content[at : at + 2], "little")
            size = int.from_bytes(content[at + 8 : at + _HEADER], "little")
            step = size if index == 0 else _HEADER + size
            if step < _HEADER:
                raise ValueError("a heap of texts is damaged")
            at += -(-step // 8) * 8
        start = content.find(_HEAP, start + 1)


def _check_unique(content: bytes) -> None:
    """Raises ValueError if a safetensors file names a tensor twice."""
    size = int.from_bytes(content[:8], "little")

    def check(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a name is repeated")
        return found

    json.loads(content[8 : 8 + size], object_pairs_hook=check)
