import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifier.inference import temperature_scaling
from classifier.inference.temperature_scaling import LabeledLogits

NUM_CLASSES = 4


def probabilities(logits, temperature):
    """[N,K] of [M,N,K]."""
    powers = np.exp(logits.astype(np.float64) / temperature)
    return (powers / powers.sum(axis=2, keepdims=True)).mean(axis=0)


def loss_of(parts, temperature):
    each = [
        -math.log(row[label])
        for part in parts
        for row, label in zip(
            probabilities(part.logits, temperature), part.labels, strict=True
        )
    ]
    return sum(each) / len(each)


def drawn(seed, *, count, members=1, temperature=1.0, spread=3.0):
    """Images whose classes are drawn from the members' mean at a temperature."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, spread, (1, count, NUM_CLASSES))
    logits = (logits + rng.normal(0, 1, (members, count, NUM_CLASSES))).astype("f4")
    truth = probabilities(logits, temperature)
    labels = (truth.cumsum(axis=1) < rng.random((count, 1))).sum(axis=1)
    return LabeledLogits(logits, labels.astype(np.int32))


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("truth", [0.5, 1.0, 2.5])
def test_the_temperature_of_the_highest_likelihood_is_found(members, truth):
    parts = [
        drawn(1, count=150, members=members, temperature=truth),
        drawn(2, count=150, members=max(1, members - 1), temperature=truth),
    ]
    fitted, reason = temperature_scaling.fit_temperature(parts)
    assert reason is None
    grid = np.geomspace(0.1, 10, 400)
    best = min(grid, key=lambda temperature: loss_of(parts, temperature))
    assert fitted == pytest.approx(best, rel=0.012)
    assert loss_of(parts, fitted) <= loss_of(parts, best)
    for neighbor in (fitted - 1e-4, fitted + 1e-4):  # Of the stored decimals.
        assert loss_of(parts, fitted) <= loss_of(parts, neighbor)


@pytest.mark.parametrize("truth", [0.4, 1.7])
def test_the_temperature_that_images_were_drawn_at_is_found(truth):
    fitted, _ = temperature_scaling.fit_temperature(
        [drawn(3, count=20_000, temperature=truth)]
    )
    assert fitted == pytest.approx(truth, rel=0.05)


def test_few_images_fit_none():
    part = drawn(1, count=temperature_scaling.MIN_IMAGES - 1, temperature=3.0)
    temperature, reason = temperature_scaling.fit_temperature([part])
    assert temperature == 1.0
    assert "199" in reason
    assert "200" in reason
    more = [part, drawn(2, count=1, temperature=3.0)]
    assert temperature_scaling.fit_temperature(more)[0] > 2


def test_no_temperature_is_fitted_at_the_ends_of_the_range():
    part = drawn(1, count=300)
    right = LabeledLogits(part.logits, part.logits[0].argmax(axis=1).astype(np.int32))
    temperature, reason = temperature_scaling.fit_temperature([right])
    assert temperature == 1.0
    assert "0.1" in reason
    wrong = LabeledLogits(part.logits, part.logits[0].argmin(axis=1).astype(np.int32))
    temperature, reason = temperature_scaling.fit_temperature([wrong])
    assert temperature == 1.0
    assert "10.0" in reason


def test_calibrated_logits_keep_their_temperature():
    """A confidence of 3/4, of images of which three in four are right."""
    logits = np.zeros((1, 400, 2), np.float32)
    logits[..., 0] = np.log(3)
    labels = np.repeat([0, 1], [300, 100]).astype(np.int32)
    temperature, reason = temperature_scaling.fit_temperature(
        [LabeledLogits(logits, labels)]
    )
    assert temperature == 1.0
    assert reason


@given(st.integers(0, 2**32 - 1), st.floats(0.2, 5))
@settings(max_examples=20, deadline=None)
def test_the_likelihood_is_that_of_the_mean_of_the_members(seed, temperature):
    parts = [drawn(seed, count=5, members=2), drawn(seed + 1, count=3)]
    found = temperature_scaling.negative_log_likelihood(parts, temperature)
    assert found == pytest.approx(loss_of(parts, temperature), rel=1e-6)


def test_the_likelihood_does_not_underflow():
    logits = np.array([[[0.0, 1e4]]], np.float32)
    part = LabeledLogits(logits, np.array([0], np.int32))
    assert temperature_scaling.negative_log_likelihood([part], 1.0) == pytest.approx(
        1e4
    )


@given(
    st.lists(
        st.tuples(st.floats(0.0625, 1, width=32), st.booleans()),
        min_size=1,
        max_size=60,
    )
)
def test_calibration_error_is_that_of_the_paper(rows):
    expected = 0.0
    for index in range(15):
        low, high = index / 15, (index + 1) / 15
        members = [(c, right) for c, right in rows if low < c <= high]
        if members:
            accuracy = sum(right for _, right in members) / len(members)
            mean = sum(c for c, _ in members) / len(members)
            expected += len(members) / len(rows) * abs(accuracy - mean)
    confidence = np.array([c for c, _ in rows], np.float32)
    is_right = np.array([right for _, right in rows])
    found = temperature_scaling.calibration_error(confidence, is_right)
    assert found == pytest.approx(expected, abs=1e-6)
