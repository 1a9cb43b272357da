"""Training targets from stored pseudo-labels."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

#: Limit of the sum of rounded probabilities.
_MAX_SUM = 1.01


def soft_target(
    top_labels: Any,
    top_probabilities: Any,
    *,
    num_classes: int,
    temperature: float = 1.0,
) -> Any:
    """Returns the teacher's distribution float32 [K], rebuilt from its k top classes.

    The rest of the probability is spread evenly over the other classes. Fails inside
    tf.data on labels outside 0..K-1 and on what are no probabilities.

    Args:
        top_labels: int [k].
        top_probabilities: float32 [k].
        num_classes: K.
        temperature: Divisor of the log probabilities; below 1 sharpens.
    """
    k = top_labels.shape[0]
    listed = tf.reduce_sum(top_probabilities)
    message = f"top_labels are not in 0..{num_classes - 1}"
    tf.debugging.assert_non_negative(top_labels, message=message)
    tf.debugging.assert_less(
        top_labels, tf.constant(num_classes, top_labels.dtype), message=message
    )
    message = "top_probabilities are not in [0, 1] with a positive sum"
    tf.debugging.assert_non_negative(top_probabilities, message=message)
    tf.debugging.assert_positive(listed, message=message)
    tf.debugging.assert_less(listed, _MAX_SUM, message=message)
    rest = tf.maximum(0.0, 1.0 - listed) / max(1, num_classes - k)
    target = tf.tensor_scatter_nd_update(
        tf.fill([num_classes], rest), top_labels[:, None], top_probabilities
    )
    powers = tf.pow(target, 1.0 / temperature)
    return powers / tf.reduce_sum(powers)
