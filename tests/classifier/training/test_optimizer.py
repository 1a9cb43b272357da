import dataclasses
import math

import numpy as np
import pytest

from classifier.training import optimizer
from classifier.training.config import OptimizerConfig

CONFIG = OptimizerConfig(peak_learning_rate=0.5, warmup_steps=10, ema_decay=0.99)


def rate(step, config=CONFIG):
    return float(optimizer.learning_rate(step, config, num_steps=100))


def test_warmup_is_a_line_from_zero_to_the_cosine():
    assert rate(0) == 0.0
    top = 0.5 * 0.5 * (1 + math.cos(math.pi * 0.1))
    assert rate(5) == pytest.approx(top / 2)
    assert rate(10) == pytest.approx(top)


def test_cosine_falls_from_step_zero_without_an_offset():
    assert rate(50) == pytest.approx(0.25)
    assert rate(100) == pytest.approx(0.0, abs=1e-7)
    without = OptimizerConfig(peak_learning_rate=0.5, warmup_steps=0)
    assert rate(0, without) == pytest.approx(0.5)


def test_stepwise_falls_to_a_tenth_after_30_60_and_80_of_90_epochs():
    config = OptimizerConfig(
        peak_learning_rate=1.6, schedule="stepwise", warmup_steps=5
    )
    rates = [
        float(optimizer.learning_rate(epoch, config, num_steps=90))
        for epoch in (0, 4, 5, 29, 30, 59, 60, 79, 80, 89)
    ]
    expected = [0.0, 1.28, 1.6, 1.6, 0.16, 0.16, 0.016, 0.016, 0.0016, 0.0016]
    np.testing.assert_allclose(rates, expected, rtol=1e-5)


def test_an_unknown_schedule_is_refused():
    config = dataclasses.replace(CONFIG, schedule="linear")
    with pytest.raises(ValueError, match="'linear'"):
        rate(3, config)


def test_nesterov_follows_the_recurrence():
    rng = np.random.default_rng(0)
    weight, velocity = np.array([1.0, -2.0]), np.zeros(2)
    ours, our_velocities = [weight], [velocity]
    for step in range(5):
        gradient = rng.normal(size=2)
        ours, our_velocities, lr = optimizer.update(
            ours, [gradient], our_velocities, step=step, config=CONFIG, num_steps=100
        )
        assert lr == rate(step)
        velocity = 0.9 * velocity + gradient
        weight = weight - float(lr) * (gradient + 0.9 * velocity)
    np.testing.assert_allclose(ours[0], weight, rtol=1e-6)


def test_ema_decay_ramps_up_to_its_limit():
    decays = [float(optimizer.ema_decay(step, CONFIG)) for step in (0, 90, 10_000)]
    np.testing.assert_allclose(decays, [0.1, 0.91, 0.99], rtol=1e-6)


def test_averages_move_towards_the_values():
    decay = 0.99
    found = optimizer.averaged([1.0, -2.0], [2.0, 2.0], step=10_000, config=CONFIG)
    expected = [decay * 1.0 + (1 - decay) * 2.0, decay * -2.0 + (1 - decay) * 2.0]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_without_a_decay_the_averages_are_the_values():
    config = OptimizerConfig(ema_decay=0.0)
    assert optimizer.averaged([1.0], [2.0], step=3, config=config) == [2.0]
