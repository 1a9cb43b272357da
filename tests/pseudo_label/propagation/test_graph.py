import numpy as np
import pytest

from pseudo_label.propagation.graph import (
    build_graph,
    find_neighbors,
    normalize_graph,
    normalize_rows,
)
from tests.pseudo_label.propagation import brute_force


def rows(count, size=8, seed=0):
    return normalize_rows(np.random.default_rng(seed).standard_normal((count, size)))


def test_rows_have_length_one_and_zeros_stay():
    normal = normalize_rows(np.array([[3, 4], [0, 0]], np.float16))
    assert normal.dtype == np.float32
    np.testing.assert_allclose(normal, [[0.6, 0.8], [0, 0]], rtol=1e-6)


@pytest.mark.parametrize("queries", [range(50), [0, 3, 17, 41]])
def test_the_graph_is_that_of_all_pairs(queries):
    embeddings = rows(50)
    graph = build_graph(embeddings, np.array(queries), neighbors=4)
    expected = brute_force.graph(embeddings, 4, queries)
    np.testing.assert_allclose(graph.toarray(), expected, atol=1e-6)
    assert (graph != graph.T).nnz == 0
    assert not graph.diagonal().any()


def test_equal_rows_are_no_neighbors_of_their_own():
    embeddings = np.repeat(rows(2), 20, axis=0)
    _, found = find_neighbors(embeddings, np.arange(40), neighbors=5)
    assert (found != np.arange(40)[:, None]).all()
    assert all(len(set(row)) == 5 for row in found.tolist())


def test_fewer_rows_than_neighbors():
    cosines, found = find_neighbors(rows(3), np.arange(3), neighbors=10)
    assert cosines.shape == found.shape == (3, 2)
    for count in (0, 1):
        graph = build_graph(rows(count), np.arange(count), neighbors=10)
        assert graph.shape == (count, count)
        assert graph.nnz == 0
    assert build_graph(rows(5), np.arange(0), neighbors=10).nnz == 0


def test_threads_have_no_effect(monkeypatch):
    monkeypatch.setattr("pseudo_label.propagation.graph._BLOCK_ROWS", 64)
    embeddings = rows(500, 32)
    found = [
        find_neighbors(embeddings, np.arange(500), neighbors=9, threads=threads)
        for threads in (1, 3)
    ]
    for one, other in zip(*found, strict=True):
        assert one.tobytes() == other.tobytes()


def test_rows_without_weights_stay_zeros():
    opposite = np.array([[1, 0], [-1, 0], [0.8, 0.6]], np.float32)
    graph = build_graph(opposite, np.arange(3), neighbors=2)
    normalized = normalize_graph(graph).toarray()
    np.testing.assert_allclose(normalized, [[0, 0, 1], [0, 0, 0], [1, 0, 0]], rtol=1e-6)
