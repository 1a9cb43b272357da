import numpy as np
import pytest

from pseudo_label.dataset.targets import soft_target
from pseudo_label.propagation import blending
from pseudo_label.propagation.blending import blend
from pseudo_label.propagation.cells import spread_type


def top(distributions, k):
    order = np.argsort(-distributions, axis=1, kind="stable")[:, :k]
    shares = np.take_along_axis(distributions, order, axis=1)
    return order.astype(np.int32), shares.astype(np.float32)


def spread_evenly(labels, shares, num_classes):
    """What is listed, and the rest evenly over the other classes."""
    dense = np.zeros((len(labels), num_classes))
    for row, (names, values) in enumerate(zip(labels, shares, strict=True)):
        others = np.setdiff1d(np.arange(num_classes), names[values > 0])
        dense[row, names[values > 0]] = values[values > 0]
        if len(names) < num_classes:
            dense[row, others] = (1 - values.sum()) / (num_classes - len(names))
    return dense


@pytest.mark.parametrize("num_classes", [3, 40])
def test_distributions_are_averaged(monkeypatch, num_classes):
    monkeypatch.setattr(blending, "_BLOCK", 100)
    rng = np.random.default_rng(0)
    teacher = rng.dirichlet([0.2] * num_classes, 30)
    given = rng.dirichlet([0.05] * num_classes, 30)
    labels, shares = top(teacher, 3)
    spread = np.zeros(30, spread_type(3))
    spread["labels"], spread["shares"] = top(given, 3)
    found = blend(
        labels,
        shares,
        spread,
        share=0.3,
        num_classes=num_classes,
        tie_disagreements=False,
    )
    expected = 0.7 * spread_evenly(labels, shares, num_classes) + 0.3 * spread_evenly(
        spread["labels"], spread["shares"], num_classes
    )
    best = -np.sort(-expected, axis=1)[:, :3]
    np.testing.assert_allclose(found[1], best, atol=1e-6)
    chosen = np.take_along_axis(expected, found[0].astype(int), axis=1)
    np.testing.assert_allclose(chosen, best, atol=1e-6)


def test_all_or_nothing():
    labels, shares = np.array([[2, 0]], np.int32), np.array([[0.75, 0.25]], np.float32)
    spread = np.zeros(1, spread_type(2))
    spread["labels"], spread["shares"] = [[1, 0]], [[1, 0]]
    none = blend(
        labels, shares, spread, share=0.0, num_classes=3, tie_disagreements=False
    )
    np.testing.assert_array_equal(none, (labels, shares))
    every = blend(
        labels, shares, spread, share=1.0, num_classes=3, tie_disagreements=False
    )
    np.testing.assert_array_equal(every[0][:, 0], [1])
    np.testing.assert_array_equal(every[1], [[1, 0]])


def test_two_classes_that_differ_get_the_same_probability():
    labels = np.array([[2, 0], [2, 0], [1, 2]], np.int32)
    shares = np.array([[1, 0], [0.75, 0.25], [0.5, 0.3]], np.float32)
    spread = np.zeros(3, spread_type(2))
    spread["labels"] = [[1, 0], [2, 1], [0, 1]]
    spread["shares"] = [[1, 0], [0.75, 0.25], [0.5, 0.5]]
    found = blend(labels, shares, spread, share=0.5, num_classes=4)
    # Of equal ones the lower label first; the second row is not changed.
    np.testing.assert_array_equal(found[0], [[1, 2], [2, 0], [0, 1]])
    np.testing.assert_allclose(
        found[1], [[0.5, 0.5], [0.75, 0.125], [0.4, 0.4]], rtol=1e-6
    )


def test_an_image_that_no_label_reaches_keeps_its_class_but_not_its_confidence():
    labels = np.array([[2, 0], [1, 0]], np.int32)
    shares = np.array([[0.9, 0.1], [0.4, 0.3]], np.float32)
    spread = np.zeros(2, spread_type(2))
    found = blend(labels, shares, spread, share=0.5, num_classes=3)
    np.testing.assert_array_equal(found[0], labels)
    # (0.9, 0.1, 0) and, with a weight of 12/17, (1/3, 1/3, 1/3).
    expected = [[0.5, 9 / 34], [0.4, 0.3]]
    np.testing.assert_allclose(found[1], expected, rtol=1e-6)
    untied = blend(
        labels, shares, spread, share=0.5, num_classes=3, tie_disagreements=False
    )
    np.testing.assert_array_equal(untied, (labels, shares))


@pytest.mark.parametrize(
    ("num_classes", "k"), [(2, 2), (3, 3), (3, 2), (40, 3), (40, 40)]
)
def test_what_a_class_loses_is_spread_over_all_classes(num_classes, k):
    teacher = np.random.default_rng(0).dirichlet([0.05] * num_classes, 50)
    labels, shares = top(teacher, k)
    spread = np.zeros(50, spread_type(k))
    found = blend(labels, shares, spread, share=0.5, num_classes=num_classes)
    np.testing.assert_array_equal(found[0], labels)
    assert (np.diff(found[1]) <= 0).all()

    def to_targets(*columns):
        rows = zip(*columns, strict=True)
        return np.array([soft_target(*row, num_classes=num_classes) for row in rows])

    before, after = to_targets(labels, shares), to_targets(*found)
    highest = before.max(axis=1, keepdims=True)
    capped = np.minimum(highest, 0.5)
    np.testing.assert_allclose(after.max(axis=1, keepdims=True), capped, rtol=1e-6)
    even = 1 / num_classes
    expected = even + (capped - even) / (highest - even) * (before - even)
    np.testing.assert_allclose(after, expected, atol=1e-6)


def test_of_one_class_the_probability_is_capped():
    labels, shares = np.zeros((1, 1), np.int32), np.ones((1, 1), np.float32)
    spread = np.zeros(1, spread_type(1))
    found = blend(labels, shares, spread, share=0.5, num_classes=1)
    np.testing.assert_array_equal(found, (labels, [[0.5]]))
