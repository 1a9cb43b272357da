"""Reads an HDF5 file in a process of its own: `hdf5.read` runs this file.

  python hdf5_process.py OUTPUT < weights.h5

The library of HDF5 crashes, never ends, or takes all memory with some damaged files.
The tensors become a safetensors file, which nothing of this can happen with. Its
metadata `layers` lists, as JSON, the tensors of each layer with weights, in order, if
Keras 2 wrote the file. What cannot be read ends in a line on stderr and status 1.
"""

from __future__ import annotations

import io
import json
import resource
import sys
from typing import Any

import h5py
import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

#: Largest size of all tensors, as a multiple of the file's: weights hardly compress.
MAX_INFLATION = 16
#: Most bytes of addresses, beside a multiple of those of the tensors.
_MEMORY = 2**30


def main(output: str) -> None:
    """Reads stdin and writes the tensors."""
    content = sys.stdin.buffer.read()
    try:
        limit_memory(_MEMORY + 3 * MAX_INFLATION * len(content))
        arrays, layers = read(content)
        metadata = {"layers": json.dumps(layers)}
        safetensors.numpy.save_file(arrays, output, metadata=metadata)
    except Exception as error:  # What is damaged raises nearly anything.
        sys.exit(" ".join(f"{error or type(error).__name__}".split()))


def limit_memory(allowed: int) -> None:
    """Lets this process have so many bytes of addresses, or fewer if it is so already.

    macOS knows no such limit.
    """
    _, highest = resource.getrlimit(resource.RLIMIT_AS)
    if sys.platform != "darwin" and not 0 <= highest <= allowed:
        resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))


def read(content: bytes) -> tuple[dict[str, NDArray[Any]], list[list[str]]]:
    """Returns tensors by their paths in the file, and those of Keras 2's layers."""
    arrays: dict[str, NDArray[Any]] = {}
    names: dict[str, list[str]] = {}
    allowed_bytes = MAX_INFLATION * len(content)

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
        arrays[name] = np.ascontiguousarray(item).reshape(item.shape)

    with h5py.File(io.BytesIO(content), "r") as file:
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
    return arrays, layers


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


if __name__ == "__main__":
    main(sys.argv[1])
