import numpy as np

from benchmarks.methods import spreading


def test_a_row_has_the_class_of_most_of_its_neighbors():
    rng = np.random.default_rng(0)
    known = rng.normal(size=(200, 5))
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    labels = rng.integers(4, size=200)
    queries = known[:20] + rng.normal(scale=0.01, size=(20, 5))
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    expected = []
    for query in queries:
        cosines = [float(query @ row) for row in known]
        nearest = sorted(range(200), key=lambda n: -cosines[n])[: spreading.NEIGHBORS]
        votes = [sum(cosines[n] for n in nearest if labels[n] == c) for c in range(4)]
        expected.append(votes.index(max(votes)))
    found = spreading.predict(queries, known, np.eye(4)[labels])
    np.testing.assert_array_equal(found, expected)
