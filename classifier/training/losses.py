"""Losses and accuracy for logits and targets [B,K], for any backend of Keras."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from keras import ops

#: Prefix of a batch's keys for masks, bool [B], of some of its images.
MASK_PREFIX = "mask/"


def cross_entropy(*, logits: Any, targets: Any) -> Any:
    """Returns the mean over the batch of -sum(target * log softmax(logits))."""
    return -ops.mean(ops.sum(targets * ops.log_softmax(logits), axis=-1))


def l2(variables: Iterable[Any], *, weight_decay: float) -> Any:
    """Returns `weight_decay / 2 * |variables|^2` (half, as `tf.nn.l2_loss` has it)."""
    squares = [ops.sum(ops.square(ops.convert_to_tensor(v))) for v in variables]
    return 0.5 * weight_decay * sum(squares)


def top1(*, logits: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """Returns the top-1 accuracy in [0, 1] by metric name.

    `train/top1` is that of the whole batch, `train/top1_NAME` that of the images in its
    mask `mask/NAME`.
    """
    is_correct = ops.argmax(logits, axis=-1) == ops.argmax(batch["target"], axis=-1)
    is_correct = ops.cast(is_correct, "float32")
    metrics = {"train/top1": ops.mean(is_correct)}
    for name, values in batch.items():
        if name.startswith(MASK_PREFIX):
            mask = ops.cast(values, "float32")
            accuracy = ops.sum(is_correct * mask) / ops.sum(mask)
            metrics[f"train/top1_{name.removeprefix(MASK_PREFIX)}"] = accuracy
    return metrics


def is_decayed(path: str) -> bool:
    """Whether weight decay covers the variable: all but batch-norm's scale and offset.

    Biases of squeeze-and-excitation and of the head are covered, as in the published
    ResNet-RS code.
    """
    return path.rsplit("/", 1)[-1] not in ("gamma", "beta")
