"""The losses against targets [B,K], in `keras.ops` alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from keras import ops

#: Of the names of a batch's marks.
AMONG = "among/"


def cross_entropy(*, logits: Any, targets: Any) -> Any:
    """Returns the mean over the batch of -sum(target * log softmax(logits))."""
    return -ops.mean(ops.sum(targets * ops.log_softmax(logits), axis=-1))


def l2(variables: Iterable[Any], *, weight_decay: float) -> Any:
    """Returns `weight_decay / 2 * |variables|^2` (half, as `tf.nn.l2_loss` has it)."""
    squares = [ops.sum(ops.square(ops.convert_to_tensor(v))) for v in variables]
    return 0.5 * weight_decay * sum(squares)


def top1(*, logits: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """Returns how often the highest logit is the target's, in [0, 1], by metric.

    `train/top1` is the share of the whole batch; where the batch marks some of its
    images, bool [B] as `among/NAME`, `train/top1_NAME` is the share of those.
    """
    hits = ops.argmax(logits, axis=-1) == ops.argmax(batch["target"], axis=-1)
    hits = ops.cast(hits, "float32")
    shares = {"train/top1": ops.mean(hits)}
    for name, mask in batch.items():
        if name.startswith(AMONG):
            marked = ops.cast(mask, "float32")
            share = ops.sum(hits * marked) / ops.sum(marked)
            shares[f"train/top1_{name.removeprefix(AMONG)}"] = share
    return shares


def is_decayed(path: str) -> bool:
    """Whether L2 covers the variable: all but batch-norm's scale and offset do.

    The biases of squeeze-and-excitation and of the head are covered, as in the code
    that ResNet-RS was trained with.
    """
    return path.rsplit("/", 1)[-1] not in ("gamma", "beta")
