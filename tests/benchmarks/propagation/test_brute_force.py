import numpy as np

from benchmarks.propagation import brute_force
from tests.pseudo_label.propagation import brute_force as dense


def test_it_solves_the_equations(monkeypatch):
    monkeypatch.setattr(brute_force, "_BLOCK_ROWS", 64)
    rng = np.random.default_rng(0)
    features = rng.standard_normal((150, 8)).astype(np.float16)
    labels = np.where(np.arange(150) < 12, np.arange(150) % 4, -1).astype(np.int32)
    # Far from all others, and as near to each other.
    features[100:115] = [1, *[0] * 7]
    features[115:] -= 3 * features[:1]
    found = brute_force.spread(features, labels, 5, neighbors=6, alpha=0.8)
    weights = dense.graph(features.astype(np.float64), 6)
    expected = dense.spread(weights, labels, 5, 0.8)
    # Of equal rows any may be the nearest.
    np.testing.assert_allclose(found[:100], expected[:100], atol=1e-9)
    assert not found[:, 4].any()


def test_what_no_label_reaches_is_zeros():
    features = np.array([[1, 0], [1, 0.1], [-1, 0], [-1, 0.1]], np.float16)
    labels = np.array([1, -1, -1, -1], np.int32)
    found = brute_force.spread(features, labels, 2, neighbors=1, alpha=0.9)
    np.testing.assert_allclose(found, [[0, 1], [0, 1], [0, 0], [0, 0]])


def test_of_few_images_all_others_are_neighbors():
    features = np.array([[1, 0], [1, 0.1]], np.float16)
    labels = np.array([1, -1], np.int32)
    found = brute_force.spread(features, labels, 2, neighbors=10, alpha=0.9)
    np.testing.assert_allclose(found, [[0, 1], [0, 1]])
