import dataclasses

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.semi_supervised import LabelSpreading

from pseudo_label.propagation.graph import build_graph, normalize_rows
from pseudo_label.propagation.spreading import (
    UNLABELED,
    SpreadingConfig,
    find_top_labels,
    spread_labels,
)
from tests.pseudo_label.propagation import brute_force


@pytest.fixture(scope="module")
def digits():
    """Features, the labels of all images, and positions of labeled ones."""
    features, labels = load_digits(return_X_y=True)
    chosen = np.random.default_rng(0).permutation(len(labels))[:600]
    features, labels = features[chosen], labels[chosen]
    labeled = np.concatenate([np.flatnonzero(labels == k)[:5] for k in range(10)])
    return features, labels, labeled


@pytest.mark.parametrize(
    ("neighbors", "alpha"), [(10, 0.5), (3, 0.9), (3, 0.1), (10, 0.02)]
)
def test_labels_spread_as_the_equations_say(digits, neighbors, alpha):
    features, labels, labeled = digits
    rest = np.setdiff1d(np.arange(len(labels)), labeled)
    found = spread_labels(
        features[rest],
        features[labeled],
        labels[labeled],
        12,
        config=SpreadingConfig(neighbors=neighbors, alpha=alpha),
    )
    order = np.concatenate([labeled, rest])
    given = np.where(np.arange(len(order)) < len(labeled), labels[order], -1)
    weights = brute_force.graph(features[order], neighbors)
    expected = brute_force.spread(weights, given, 12, alpha)[len(labeled) :]
    np.testing.assert_allclose(found, expected, atol=2e-4)
    assert found.dtype == np.float32
    assert (found.argmax(axis=1) == labels[rest]).mean() > 0.85


def test_labels_spread_as_in_scikit_learn(digits):
    features, labels, labeled = digits
    given = np.full(len(labels), UNLABELED)
    given[labeled] = labels[labeled]
    weights = build_graph(normalize_rows(features), neighbors=7)
    reference = LabelSpreading(
        kernel=lambda left, right: weights.toarray(), alpha=0.5, tol=0, max_iter=132
    )
    with pytest.warns(Warning, match="max_iter"):
        reference.fit(features, given)
    found = find_top_labels(
        weights, given, SpreadingConfig(neighbors=7, alpha=0.5), top_k=10
    )
    shares = np.zeros((len(labels), 10))
    np.put_along_axis(shares, found.labels.astype(int), found.shares, axis=1)
    np.testing.assert_allclose(shares, reference.label_distributions_, atol=1e-5)


def test_the_top_labels_are_those_of_all_classes(digits, monkeypatch):
    features, labels, labeled = digits
    given = np.full(len(labels), UNLABELED)
    given[labeled] = labels[labeled]
    graph = build_graph(normalize_rows(features), neighbors=10)
    config = SpreadingConfig()
    every = find_top_labels(graph, given, config, top_k=10)
    monkeypatch.setattr("pseudo_label.propagation.spreading._CHUNK", 3)
    top = find_top_labels(graph, given, config, top_k=2)
    np.testing.assert_allclose(top.shares, every.shares[:, :2], rtol=1e-5)
    is_clear = every.shares[:, 1] - every.shares[:, 2] > 1e-6
    np.testing.assert_array_equal(top.labels[is_clear], every.labels[is_clear, :2])


def test_what_no_label_reaches_is_zeros():
    far = np.array([[1, 0], [1, 0.1], [-1, 0], [-1, 0.1]])
    found = spread_labels(far[1:], far[:1], [1], 2)
    np.testing.assert_array_equal(found, [[0, 1], [0, 0], [0, 0]])


def test_without_labels_or_images():
    some = np.eye(3)
    none = np.zeros((0, 3))
    assert not spread_labels(some, none, [], 4).any()
    assert spread_labels(none, some, [0, 1, 2], 4).shape == (0, 4)
    assert spread_labels(none, none, [], 4).shape == (0, 4)


def test_settings():
    assert SpreadingConfig(alpha=0.1).num_steps == SpreadingConfig().num_steps == 132
    assert 0.99 ** SpreadingConfig(alpha=0.99).num_steps <= 1e-6
    for bad in ({"neighbors": 0}, {"alpha": 0.0}, {"alpha": 1.0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            dataclasses.replace(SpreadingConfig(), **bad)
    with pytest.raises(ValueError, match="labels"):
        spread_labels(np.eye(3), np.eye(3), [0], 4)
