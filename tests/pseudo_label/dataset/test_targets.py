import numpy as np
import tensorflow as tf

from pseudo_label.dataset.targets import soft_target


def target(labels, probabilities, **kwargs):
    return soft_target(
        tf.constant(labels, tf.int64), tf.constant(probabilities, tf.float32), **kwargs
    ).numpy()


def test_all_classes_listed_gives_the_distribution_back():
    found = target([2, 0, 1], [0.5, 0.3, 0.2], num_classes=3)
    np.testing.assert_allclose(found, [0.3, 0.2, 0.5], rtol=1e-6)


def test_what_is_left_of_one_is_spread_over_the_other_classes():
    found = target([3, 1], [0.6, 0.2], num_classes=6)
    np.testing.assert_allclose(found, [0.05, 0.2, 0.05, 0.6, 0.05, 0.05], rtol=1e-5)


def test_probabilities_that_round_above_one_leave_no_negative_rest():
    found = target([0, 1], [0.7, 0.3000001], num_classes=4)
    assert found.min() >= 0
    np.testing.assert_allclose(found.sum(), 1.0, rtol=1e-6)


def test_sharpening_raises_to_the_power_and_normalizes():
    found = target([0, 1, 2], [0.6, 0.3, 0.1], num_classes=3, temperature=0.5)
    expected = np.array([0.36, 0.09, 0.01]) / 0.46
    np.testing.assert_allclose(found, expected, rtol=1e-5)
