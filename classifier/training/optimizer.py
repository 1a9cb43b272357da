"""Learning rate, Nesterov momentum and moving average, for any backend of Keras."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from keras import ops

from classifier.training.config import OptimizerConfig

#: Shares of the run after which the stepwise schedule falls, each time to a tenth: 30,
#: 60 and 80 of 90 epochs (Goyal et al. 2017).
STEPWISE_DROPS = (30 / 90, 60 / 90, 80 / 90)


def learning_rate(step: Any, config: OptimizerConfig, *, num_steps: int) -> Any:
    """Returns the learning rate after `step` updates, a scalar tensor.

    The schedule starts at step 0; warm-up rises linearly from 0 to the schedule's value
    at the end of warm-up, so that a cosine's peak itself is not reached.
    """
    step = ops.cast(step, "float32")
    if config.schedule == "stepwise":
        drops = sum(
            ops.cast(step >= share * num_steps, "float32") for share in STEPWISE_DROPS
        )
        factor, top = 0.1**drops, 1.0
    elif config.schedule == "cosine":
        factor = 0.5 * (1.0 + ops.cos(math.pi * step / num_steps))
        top = 0.5 * (1.0 + math.cos(math.pi * config.warmup_steps / num_steps))
    else:
        raise ValueError(f"no such schedule: {config.schedule!r}")
    if config.warmup_steps > 0:
        warmup = top * step / config.warmup_steps
        factor = ops.where(step < config.warmup_steps, warmup, factor)
    return config.peak_learning_rate * factor


def update(
    weights: Sequence[Any],
    gradients: Sequence[Any],
    velocities: Sequence[Any],
    *,
    step: Any,
    config: OptimizerConfig,
    num_steps: int,
) -> tuple[list[Any], list[Any], Any]:
    """Returns weights and velocities after a Nesterov step, and its learning rate.

    The learning rate is not part of the velocity, as in TensorFlow's
    MomentumOptimizer: a lower rate also scales the gradients accumulated before.
    """
    rate, momentum = learning_rate(step, config, num_steps=num_steps), config.momentum
    velocities = [
        momentum * velocity + gradient
        for velocity, gradient in zip(velocities, gradients, strict=True)
    ]
    weights = [
        weight - rate * (gradient + momentum * velocity)
        for weight, gradient, velocity in zip(
            weights, gradients, velocities, strict=True
        )
    ]
    return weights, velocities, rate


def ema_decay(step: Any, config: OptimizerConfig) -> Any:
    """Returns the decay after `step` updates, small at first."""
    step = ops.cast(step, "float32")
    return ops.minimum(config.ema_decay, (1.0 + step) / (10.0 + step))


def averaged(
    averages: Sequence[Any],
    values: Sequence[Any],
    *,
    step: Any,
    config: OptimizerConfig,
) -> list[Any]:
    """Returns the moving averages updated with the values of step `step`."""
    if config.ema_decay == 0.0:
        return list(values)
    decay = ema_decay(step, config)
    return [
        average - (1.0 - decay) * (average - value)
        for average, value in zip(averages, values, strict=True)
    ]
