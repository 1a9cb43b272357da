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


def make_graph(features, neighbors=10):
    return build_graph(
        normalize_rows(features), np.arange(len(features)), neighbors=neighbors
    )


def mark(labels, labeled):
    """The labels at some positions, `UNLABELED` elsewhere."""
    return np.where(np.isin(np.arange(len(labels)), labeled), labels, UNLABELED)


def to_dense(found, num_classes):
    """Distributions [N,K]; a class may be listed again with a share of 0."""
    dense = np.zeros((len(found.labels), num_classes))
    rows = np.arange(len(dense))[:, None]
    np.add.at(dense, (rows, found.labels), found.shares)
    return dense


@pytest.mark.parametrize(
    ("neighbors", "alpha"), [(10, 0.5), (3, 0.9), (3, 0.1), (10, 0.02)]
)
def test_labels_spread_as_the_equations_say(digits, neighbors, alpha):
    features, labels, labeled = digits
    given = mark(labels, labeled)
    config = SpreadingConfig(neighbors=neighbors, alpha=alpha)
    found = find_top_labels(make_graph(features, neighbors), given, config, top_k=12)
    weights = brute_force.graph(features, neighbors)
    expected = brute_force.spread(weights, given, 12, alpha)
    np.testing.assert_allclose(to_dense(found, 12), expected, atol=2e-4)
    assert found.shares.dtype == np.float32
    rest = given == UNLABELED
    assert (found.labels[rest, 0] == labels[rest]).mean() > 0.85


def test_labels_spread_as_in_scikit_learn(digits):
    features, labels, labeled = digits
    given = mark(labels, labeled)
    weights = make_graph(features, 7)
    reference = LabelSpreading(
        kernel=lambda left, right: weights.toarray(), alpha=0.5, tol=0, max_iter=132
    )
    with pytest.warns(Warning, match="max_iter"):
        reference.fit(features, given)
    found = find_top_labels(
        weights, given, SpreadingConfig(neighbors=7, alpha=0.5), top_k=10
    )
    np.testing.assert_allclose(
        to_dense(found, 10), reference.label_distributions_, atol=1e-5
    )


def test_the_top_labels_are_those_of_all_classes(digits, monkeypatch):
    features, labels, labeled = digits
    given = mark(labels, labeled)
    graph = make_graph(features)
    config = SpreadingConfig()
    every = find_top_labels(graph, given, config, top_k=10)
    monkeypatch.setattr("pseudo_label.propagation.spreading._CHUNK", 3)
    top = find_top_labels(graph, given, config, top_k=2)
    np.testing.assert_allclose(top.shares, every.shares[:, :2], rtol=1e-5)
    is_clear = every.shares[:, 1] - every.shares[:, 2] > 1e-6
    np.testing.assert_array_equal(top.labels[is_clear], every.labels[is_clear, :2])


def test_what_no_label_reaches_is_zeros():
    far = np.array([[1, 0], [1, 0.1], [-1, 0], [-1, 0.1]])
    given = mark(np.ones(4, int), [0])
    found = find_top_labels(make_graph(far), given, SpreadingConfig(), top_k=2)
    np.testing.assert_array_equal(to_dense(found, 2), [[0, 1], [0, 1], [0, 0], [0, 0]])


def test_without_labels_or_images():
    for count in (0, 3):
        graph = make_graph(np.eye(3)[:count])
        given = np.full(count, UNLABELED)
        found = find_top_labels(graph, given, SpreadingConfig(), top_k=4)
        assert found.shares.shape == found.labels.shape == (count, 4)
        assert not found.shares.any()


def test_settings():
    assert SpreadingConfig(alpha=0.1).num_steps == SpreadingConfig().num_steps == 132
    assert 0.99 ** SpreadingConfig(alpha=0.99).num_steps <= 1e-6
    for bad in ({"neighbors": 0}, {"alpha": 0.0}, {"alpha": 1.0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            dataclasses.replace(SpreadingConfig(), **bad)
