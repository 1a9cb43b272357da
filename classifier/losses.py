"""The losses against targets [B,K], in `keras.ops` alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from keras import ops


def cross_entropy(*, logits: Any, targets: Any) -> Any:
    """Returns the mean over the batch of -sum(target * log softmax(logits))."""
    return -ops.mean(ops.sum(targets * ops.log_softmax(logits), axis=-1))


def l2(variables: Iterable[Any], *, weight_decay: float) -> Any:
    """Returns `weight_decay / 2 * |variables|^2` (half, as `tf.nn.l2_loss` has it)."""
    squares = [ops.sum(ops.square(ops.convert_to_tensor(v))) for v in variables]
    return 0.5 * weight_decay * sum(squares)


def top1(*, logits: Any, targets: Any) -> Any:
    """Returns the share of the batch whose highest logit is its target's, in [0, 1]."""
    hits = ops.argmax(logits, axis=-1) == ops.argmax(targets, axis=-1)
    return ops.mean(ops.cast(hits, "float32"))


def is_decayed(path: str) -> bool:
    """Whether L2 covers the variable: all but batch-norm's scale and offset do.

    The biases of squeeze-and-excitation and of the head are covered, as in the code
    that ResNet-RS was trained with.
    """
    return path.rsplit("/", 1)[-1] not in ("gamma", "beta")
