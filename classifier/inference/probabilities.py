"""From logits to probabilities.

Imports no TensorFlow, as who applies a head to stored embeddings needs none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def mean_probabilities(
    logits: NDArray[np.float32], temperatures: Sequence[float]
) -> NDArray[np.float32]:
    """Returns the mean probabilities float32 [B,K] of M members' logits [M,B,K]."""
    total = np.zeros(logits.shape[1:], np.float32)
    for member, temperature in zip(logits, temperatures, strict=True):
        total += softmax(member / np.float32(temperature))
    return total / np.float32(len(logits))


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the softmax [B,K] of logits [B,K]; NaN where a logit is not finite."""
    with np.errstate(invalid="ignore"):
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)
