"""From a stored pseudo-label to the target a student is trained on."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf

TargetKind = Literal["hard", "soft", "sharpened"]


def soft_target(
    top_labels: Any,
    top_probabilities: Any,
    *,
    num_classes: int,
    temperature: float = 1.0,
) -> Any:
    """Returns the teacher's distribution float32 [K], rebuilt from its k top classes.

    What the k probabilities leave of 1 is spread evenly over the other classes.

    Args:
        top_labels: int [k].
        top_probabilities: float32 [k].
        num_classes: K.
        temperature: Below 1 sharpens: every probability is raised to the power
            1 / temperature, and the sum brought back to 1.
    """
    k = top_labels.shape[0]
    listed = tf.reduce_sum(top_probabilities)
    rest = tf.maximum(0.0, 1.0 - listed) / max(1, num_classes - k)
    target = tf.tensor_scatter_nd_update(
        tf.fill([num_classes], rest), top_labels[:, None], top_probabilities
    )
    powers = tf.pow(target, 1.0 / temperature)
    return powers / tf.reduce_sum(powers)
