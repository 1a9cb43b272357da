import numpy as np
import pytest

from pseudo_label.propagation import cells as propagation_cells
from pseudo_label.propagation.cells import (
    Cells,
    count_bytes,
    count_cells,
    find_cells,
    limit_rows,
    one_cell,
    row_type,
    spread_in_unit,
    spread_type,
)
from pseudo_label.propagation.graph import normalize_rows
from pseudo_label.propagation.spreading import SpreadingConfig
from tests.pseudo_label.propagation import brute_force


def clustered(count, size=8, clusters=5, seed=0):
    rng = np.random.default_rng(seed)
    centers = 3 * rng.standard_normal((clusters, size))
    rows = centers[rng.integers(0, clusters, count)] + rng.standard_normal(
        (count, size)
    )
    return normalize_rows(rows)


def to_rows(features, labels=None, is_home=True):
    rows = np.zeros(len(features), row_type(features.shape[1]))
    rows["row"] = np.arange(len(features))
    rows["label"] = -1 if labels is None else labels
    rows["is_home"] = is_home
    rows["embedding"] = features
    return rows


def reached(found):
    """The rows with any label."""
    return found[found["shares"][:, 0] > 0]


def test_the_number_of_cells_follows_from_images_and_bytes():
    assert count_cells(200_000, max_exact=200_000) == 1
    assert count_cells(200_001, max_exact=200_000) == 21
    assert count_cells(130_000_000, max_exact=200_000) == 4096
    assert count_cells(9000, max_exact=5000) == 2


def test_as_many_rows_as_their_bytes_allow():
    assert limit_rows(200_000, 640) == 200_000
    assert limit_rows(200_000, 61440) == 2**32 // 61440
    assert limit_rows(200_000, 61440, num_bytes=2**30) == 2**30 // 61440
    assert limit_rows(9, 2**40) == 1


@pytest.mark.parametrize("size", [64, 2048])
def test_memory_leaves_the_defaults_as_they_are(size):
    image_bytes = count_bytes(size, neighbors=10, top_k=10)
    assert limit_rows(200_000, image_bytes) == 200_000
    assert limit_rows(50_000, image_bytes, num_bytes=2**30) == 50_000


@pytest.mark.parametrize(("neighbors", "top_k"), [(1000, 10), (10, 1000)])
def test_neighbors_and_classes_need_memory(neighbors, top_k):
    image_bytes = count_bytes(64, neighbors=neighbors, top_k=top_k)
    assert limit_rows(200_000, image_bytes) == 2**32 // (10 * 64 + 48 * 1010)


def test_cells_are_those_of_the_nearest_centroids():
    sample = clustered(500)
    cells = find_cells(sample, 7, share=0.5, image_bytes=80)
    assert len(cells.centroids) == 7
    np.testing.assert_allclose(np.linalg.norm(cells.centroids, axis=1), 1, rtol=1e-6)
    expected = np.argsort(-sample @ cells.centroids.T, axis=1)[:, :3]
    np.testing.assert_array_equal(cells.assign(sample, reach=3), expected)
    again = find_cells(sample, 7, share=0.5, image_bytes=80)
    assert again.centroids.tobytes() == cells.centroids.tobytes()


def test_large_cells_are_divided_and_their_rows_spread_evenly(monkeypatch):
    monkeypatch.setattr(propagation_cells, "MAX_UNIT_ROWS", 1000)
    equal = np.repeat(clustered(1), 100, axis=0)
    rows = np.concatenate([equal, -equal[:10]])
    cells = find_cells(rows, 2, share=0.01, image_bytes=80)
    large = int(cells.assign(equal[:1])[0, 0])
    assert sorted(cells.units_per_cell) == [1, 10]
    assert len(cells.units_of(large)) == 10
    # Landmarks have low hashes.
    for highest in (2**64, 2**50):
        key_hash = np.random.default_rng(0).integers(highest, size=5000, dtype="u8")
        units = cells.find_units(np.full(5000, large), key_hash)
        counts = np.bincount(units, minlength=cells.num_units)
        assert counts.sum() == counts[list(cells.units_of(large))].sum()
        assert 400 < counts[counts > 0].min() <= counts.max() < 600
        assert np.count_nonzero(counts) == 10
    other = cells.find_units(np.full(50, 1 - large), key_hash[:50])
    assert set(other) == set(cells.units_of(1 - large))


def test_a_small_sample_has_fewer_cells():
    whole = {"share": 1.0, "image_bytes": 80}
    assert len(find_cells(clustered(6), 7, **whole).units_per_cell) == 3
    assert len(find_cells(clustered(1), 7, **whole).units_per_cell) == 1
    none = find_cells(clustered(1)[:0], 7, **whole)
    assert none.centroids.shape == (1, 8)
    assert none.num_units == 1


def test_cells_of_large_images_are_divided_earlier(monkeypatch):
    monkeypatch.setattr(propagation_cells, "_MAX_UNIT_BYTES", 80 * 100)
    found = find_cells(clustered(50), 1, share=0.05, image_bytes=80)
    assert found.units_per_cell == [10]


def test_labeled_images_reach_a_thousand_per_cell_or_all():
    cells = Cells(clustered(50), np.ones(50, int))
    assert [cells.reach(count) for count in (10, 1000, 10_000, 10**7)] == [50, 50, 5, 1]
    assert one_cell(8).reach(5) == 1


def test_a_unit_is_the_graph_of_all_pairs_in_any_order():
    features = clustered(80).astype(np.float16)
    labels = np.where(np.arange(80) < 9, np.arange(80) % 3, -1)
    rows = to_rows(features, labels)
    rows["shard"] = np.where(labels < 0, np.arange(80) % 4, 0)
    config = SpreadingConfig(neighbors=4, alpha=0.5)
    found = spread_in_unit(rows, config, top_k=3)
    weights = brute_force.graph(features.astype(float), 4)
    expected = brute_force.spread(weights, labels, 3, 0.5)
    assert sorted(found["row"]) == list(range(9, 80))
    found_rows = sorted(reached(found)["row"])
    assert found_rows == [row for row in range(9, 80) if expected[row].any()]
    for row in found:
        shares = np.zeros(3)
        np.put_along_axis(shares, row["labels"].astype(int), row["shares"], 0)
        np.testing.assert_allclose(shares, expected[row["row"]], atol=1e-4)
    again = spread_in_unit(rows[::-1], config, top_k=3, threads=2)
    assert again.tobytes() == found.tobytes()


def test_labeled_images_from_elsewhere_are_only_found():
    """One that no image lists would otherwise list the nearest of a far cell."""
    near = clustered(20, clusters=1)
    far = normalize_rows(near.mean(axis=0, keepdims=True) + 9 * np.eye(8)[:1])
    features = np.concatenate([near, far])
    labels = np.where(np.arange(21) == 20, 1, -1)
    config = SpreadingConfig(neighbors=3)
    assert len(reached(spread_in_unit(to_rows(features, labels), config, top_k=1)))
    is_home = labels < 0
    found = spread_in_unit(to_rows(features, labels, is_home), config, top_k=1)
    assert len(found) == 20
    assert not len(reached(found))


@pytest.mark.parametrize("num_labeled", [0, 3])
def test_what_landmarks_got_spreads_like_labels(num_labeled):
    features = clustered(80).astype(np.float16)
    labels = np.where(np.arange(80) < num_labeled, 1, -1)
    rows = to_rows(features, labels)
    rows["shard"] = np.arange(80) % 4
    # Of shard 9 and row 99 are none; row 1 is labeled, unless no row is.
    landmarks = np.zeros(5, spread_type(2))
    landmarks["shard"], landmarks["row"] = [0, 1, 1, 2, 9], [40, 1, 41, 99, 0]
    landmarks["labels"] = [[2, 0], [0, 1], [3, 0], [0, 1], [0, 1]]
    landmarks["shares"] = [[0.75, 0.25], [1, 0], [0.5, 0.25], [1, 0], [1, 0]]
    more = np.zeros((80, 4))
    more[40], more[41] = [0.25, 0, 0.75, 0], [0.25, 0, 0, 0.5]
    if not num_labeled:
        more[1, 0] = 1
    config = SpreadingConfig(neighbors=4, alpha=0.5)
    found = spread_in_unit(rows, config, top_k=4, landmarks=landmarks)
    weights = brute_force.graph(features.astype(float), 4)
    expected = brute_force.spread(weights, labels, 4, 0.5, more)
    assert len(found) == 80 - num_labeled
    assert len(reached(found)) == expected[num_labeled:].any(axis=1).sum() > 10
    for row in found:
        shares = np.zeros(4)
        np.add.at(shares, row["labels"], row["shares"])
        np.testing.assert_allclose(shares, expected[row["row"]], atol=1e-4)
    none = spread_in_unit(rows, config, top_k=4, landmarks=landmarks[:0])
    assert none.tobytes() == spread_in_unit(rows, config, top_k=4).tobytes()


def test_without_labels_nothing_is_reached():
    config = SpreadingConfig(neighbors=3)
    found = spread_in_unit(to_rows(clustered(9)), config, top_k=2)
    assert len(found) == 9
    assert not found["shares"].any()
