"""Files of tensors that others have made: HDF5 and safetensors.

Whatever a file holds, reading it ends with arrays that are in the file itself, or with
a ValueError of one line. Nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import safetensors.numpy
from etils import epath
from numpy.typing import NDArray

from classifier.weights import hdf5_process
from stage import artifact
from stage.typed_json import error_message

Arrays = Mapping[str, NDArray[Any]]

#: Most seconds to read an HDF5 file, beside those for its bytes from a slow disk.
_SECONDS, _BYTES_PER_SECOND = 8.0, 2**23


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
        OSError: If its file system is unknown or does not answer.
    """
    found = artifact.reach(path)
    if not found.exists():
        raise FileNotFoundError(f"{spec}: no such file")
    if found.is_dir():
        raise ValueError(f"{spec}: expected a file, got a directory")
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
        return load_safetensors(content)


def load_safetensors(content: bytes) -> Arrays:
    """Returns the tensors of a safetensors file.

    Raises:
        ValueError: If it names one twice, or has numbers of a type that NumPy lacks.
        SafetensorError: If it is broken.
    """
    try:
        tensors = safetensors.numpy.load(content)
    except KeyError as error:
        (dtype,) = error.args
        raise ValueError(f"NumPy has no type {dtype}; store float32") from error
    _check_unique(content)
    return tensors


def read_hdf5(spec: str, content: bytes) -> Hdf5:
    """Returns the tensors of an HDF5 file; raises ValueError if it is broken.

    Links to other files are not followed. See `hdf5_process`, which reads it.
    """
    with (
        _one_line(spec, "an HDF5 weights file"),
        tempfile.TemporaryDirectory() as scratch,
    ):
        output = f"{scratch}/tensors"
        # Without -P, Python would find modules beside the file.
        command = [sys.executable, "-P", hdf5_process.__file__, output]
        _run(command, content)
        with safetensors.safe_open(output, "numpy") as file:
            layers = json.loads(file.metadata()["layers"])
        return Hdf5(safetensors.numpy.load_file(output), layers)


def _run(command: list[str], content: bytes) -> None:
    """Runs a process that reads `content`; raises ValueError if it fails."""
    limit = _SECONDS + len(content) / _BYTES_PER_SECOND
    try:
        process = subprocess.run(
            command, input=content, stderr=subprocess.PIPE, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"reading takes more than {limit:.0f} seconds") from error
    if process.returncode:
        lines = process.stderr.decode(errors="replace").splitlines()
        is_refused = process.returncode == 1 and lines
        status = f"its library ended with status {process.returncode}"
        raise ValueError(lines[-1] if is_refused else status)


@contextlib.contextmanager
def _one_line(spec: str, expected: str) -> Iterator[None]:
    """Turns what damaged files raise, which is nearly anything, into a ValueError."""
    try:
        yield
    except Exception as error:
        words = error_message(error)
        raise ValueError(f"{spec}: expected {expected}: {words}") from error


def _check_unique(content: bytes) -> None:
    """Raises ValueError if a safetensors file that can be read names a tensor twice."""
    size = int.from_bytes(content[:8], "little")

    def check(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a name is repeated")
        return found

    json.loads(content[8 : 8 + size], object_pairs_hook=check)
