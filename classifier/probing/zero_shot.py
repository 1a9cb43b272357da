"""Zero-shot heads: the cosine of an image's embedding and that of its class's name.

The network that embeds images was trained together with one that embeds text, as CLIP
was (Radford et al. 2021, arXiv 2103.00020); whoever has the second one writes the
embeddings of K class names to a file.
"""

from __future__ import annotations

import io
import tokenize
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray

from classifier.export.head import Head
from classifier.weights import files
from stage import artifact, typed_json
from stage.validation import check

#: What CLIP multiplies the cosine by: at its bound of 100 all published models ended.
SCALE = 100.0


def make_head(class_embeddings: NDArray[np.float32]) -> Head:
    """Returns a head whose logits are the scaled cosines with K classes.

    Args:
        class_embeddings: float32 [K,D], one row by label, none of which is zero.
    """
    rows = class_embeddings.astype(np.float64)  # Squares of float32 can overflow.
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    kernel = (SCALE * rows / lengths).T.astype(np.float32)
    bias = np.zeros(len(class_embeddings), np.float32)
    return Head(np.ascontiguousarray(kernel), bias, normalize=True)


def read_class_embeddings(
    path: str, *, num_classes: int, size: int
) -> NDArray[np.float32]:
    """Returns the embeddings float32 [K,D] of K classes in a file.

    Args:
        path: NumPy's `.npy`, or `.safetensors` with one tensor.
        num_classes: K.
        size: D of the features that they are compared with.

    Raises:
        ValueError: If the file is broken, or of other shape.
        OSError: If there is none, or its file system does not answer.
    """
    readers = {".npy": _read_npy, ".safetensors": _read_safetensors}
    file = artifact.reach(path)
    read = readers.get(file.suffix)
    if read is None:
        raise ValueError(f"expected class embeddings in {' or '.join(readers)}: {path}")
    if not file.exists():
        raise FileNotFoundError(f"class embeddings: no file {path!r}")
    content = typed_json.read_bytes(path)
    try:
        found = read(content, (num_classes, size))
    # NumPy parses the header of .npy as Python.
    except (ValueError, safetensors.SafetensorError, tokenize.TokenError) as error:
        words = typed_json.error_message(error)
        raise ValueError(f"{path} cannot be read: {words}") from error
    rows = found.astype(np.float32)
    is_bad = ~np.isfinite(rows).all(axis=1) | ~rows.any(axis=1)
    if is_bad.any():
        raise ValueError(
            f"{path}: expected finite rows that are not zero, got another in row "
            f"{is_bad.argmax()}, counted from 0"
        )
    return rows


def _read_npy(content: bytes, shape: tuple[int, int]) -> NDArray[Any]:
    stream = io.BytesIO(content)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    version = np.lib.format.read_magic(stream)
    check(version in readers, f"expected version 1.0 or 2.0 of .npy, got {version}")
    found, _, dtype = readers[version](stream)
    _check(found, dtype, shape)  # Before memory is reserved for it.
    stream.seek(0)
    return np.load(stream, allow_pickle=False)


def _read_safetensors(content: bytes, shape: tuple[int, int]) -> NDArray[Any]:
    tensors = list(files.load_safetensors(content).values())
    check(len(tensors) == 1, f"expected one tensor, got {len(tensors)}")
    _check(tensors[0].shape, tensors[0].dtype, shape)
    return tensors[0]


def _check(found: tuple[int, ...], dtype: Any, shape: tuple[int, int]) -> None:
    check(
        found == shape,
        f"expected {shape[0]} classes, those of the labeled images, of {shape[1]} "
        f"features, got shape {found}",
    )
    check(
        np.issubdtype(dtype, np.floating),
        f"expected floating-point numbers, got {dtype}",
    )
