"""`head.safetensors`: the last layer of a classifier, from embeddings to logits.

Imports neither Keras nor TensorFlow: with stored embeddings a head gives predictions
without a network.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import safetensors.numpy
from etils import epath
from numpy.typing import NDArray

from classifier.export.facts import ClassifierFacts
from stage import artifact, typed_json
from stage.validation import check

HEAD = "head.safetensors"
#: Name of the metadata of a safetensors file in its header, and our entry there.
_METADATA, _NORMALIZE = "__metadata__", "normalize"
#: Bytes before the header, which hold its length.
_PREFIX = 8

#: Length below which an embedding is not stretched to length 1.
MIN_LENGTH = 1e-12


@dataclasses.dataclass(frozen=True, eq=False)
class Head:
    """A linear layer from embeddings to logits.

    Attributes:
        kernel: float32 [D,K].
        bias: float32 [K].
        normalize: Whether embeddings are first divided by their Euclidean length.
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]
    normalize: bool = False

    def __post_init__(self) -> None:
        shapes = self.kernel.shape, self.bias.shape
        check(
            len(shapes[0]) == 2 and shapes[1] == shapes[0][1:] and min(shapes[0]) > 0,
            f"expected a kernel [D,K] and a bias [K], got shapes {shapes}",
        )
        dtypes = {str(self.kernel.dtype), str(self.bias.dtype)}
        check(dtypes == {"float32"}, f"expected a head of float32, got {dtypes}")
        check(
            bool(np.isfinite(self.kernel).all() and np.isfinite(self.bias).all()),
            "expected a head of finite numbers",
        )

    @property
    def embedding_size(self) -> int:
        """Number of features D."""
        return len(self.kernel)

    def logits(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns logits float32 [B,K] of raw embeddings float32 [B,D]."""
        if self.normalize:
            lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
            embeddings = embeddings / np.maximum(lengths, np.float32(MIN_LENGTH))
        return embeddings @ self.kernel + self.bias


def write_head(directory: epath.PathLike, head: Head) -> str:
    """Writes `head.safetensors`; returns its fingerprint for `classifier.json`."""
    content = safetensors.numpy.save(
        {
            "kernel": np.ascontiguousarray(head.kernel),
            "bias": np.ascontiguousarray(head.bias),
        },
        metadata={_NORMALIZE: "true" if head.normalize else "false"},
    )
    artifact.write_bytes(epath.Path(directory) / HEAD, content)
    return artifact.fingerprint([content])


def read_head(directory: epath.PathLike, facts: ClassifierFacts) -> Head:
    """Returns the head of a classifier with these facts.

    Raises:
        ValueError: If there is none, or it is broken or another classifier's.
    """
    path = epath.Path(directory) / HEAD
    if facts.head is None or not path.exists():
        raise ValueError(
            f"{directory}: expected a classifier with {HEAD}, found none; classifiers "
            "of earlier versions, or without pooled features, have none"
        )
    content = typed_json.read_bytes(path)
    if artifact.fingerprint([content]) != facts.head:
        raise ValueError(f"{path}: not the head of this classifier; restore it")
    try:
        head = _parse(content, str(path))
    except (ValueError, KeyError, safetensors.SafetensorError) as error:
        words = typed_json.error_message(error)
        raise ValueError(f"{path} cannot be read: {words}") from error
    if head.kernel.shape[1] != len(facts.class_names):
        raise ValueError(
            f"{path}: expected {len(facts.class_names)} classes, got "
            f"{head.kernel.shape[1]}"
        )
    return head


def _parse(content: bytes, name: str) -> Head:
    arrays = safetensors.numpy.load(content)
    end = _PREFIX + int.from_bytes(content[:_PREFIX], "little")
    header = typed_json.parse(content[_PREFIX:end], dict[str, Any], name)
    normalize = (header.get(_METADATA) or {}).get(_NORMALIZE)
    check(normalize in ("true", "false"), f"expected {_NORMALIZE} in its metadata")
    return Head(arrays["kernel"], arrays["bias"], normalize == "true")
