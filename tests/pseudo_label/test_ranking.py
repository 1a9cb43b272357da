import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudo_label import ranking
from pseudo_label.ranking import Bins, Place, Rows


def make_rows(rng, num_classes, count):
    """Rows as networks make them: crowds at 1, ties, and the odd 0."""
    kinds = [
        rng.random(count),
        1 - rng.random(count) ** 8,
        np.ones(count),
        rng.choice([0.0, 1e-30, 0.1, 0.5, 1.0], count),
    ]
    return Rows(
        rng.integers(0, num_classes, count).astype(np.int32),
        kinds[rng.integers(len(kinds))].astype(np.float32),
        rng.integers(0, 2**64, count, dtype=np.uint64),
        np.zeros(count, np.int32),
        np.arange(count, dtype=np.int32),
    )


def sorted_places(rows, rank):
    """Places from sorting each class, which `ranking` avoids."""
    places = []
    for label, wanted in enumerate(rank):
        members = [
            (-float(confidence), int(key_hash))
            for confidence, key_hash in zip(
                rows.confidence[rows.label == label],
                rows.key_hash[rows.label == label],
                strict=True,
            )
        ]
        members.sort()
        places.append(
            [
                Place(-members[r - 1][0], members[r - 1][1]) if r else None
                for r in wanted
            ]
        )
    return places


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    num_classes=st.integers(1, 30),
    count=st.integers(0, 3000),
)
def test_places_are_those_of_sorting(seed, num_classes, count):
    rng = np.random.default_rng(seed)
    rows = make_rows(rng, num_classes, count)
    of_class = np.bincount(rows.label, minlength=num_classes)
    rank = rng.integers(0, of_class[:, None] + 1, (num_classes, ranking.NUM_RANKS))
    bins = Bins(num_classes)
    histogram = np.zeros((num_classes, bins.count), np.int64)
    ranking.count_bins(histogram, rows, bins)
    windows = ranking.find_windows(histogram, rank, bins)
    expected = sorted_places(rows, rank)
    for _ in range(3):
        inside = ranking.take_inside(rows, windows)
        assert len(inside.row) <= windows.rows
        assert ranking.find_places(inside, windows, pytest.fail) == expected
        counts = np.zeros((*rank.shape, windows.bins), np.int64)
        ranking.count_inside(counts, rows, windows)
        windows = ranking.narrow(windows, counts)


def test_a_window_with_all_rows_at_one_confidence_narrows_by_their_hashes():
    rng = np.random.default_rng(0)
    count = 20_000
    rows = Rows(
        np.zeros(count, np.int32),
        np.ones(count, np.float32),
        rng.integers(0, 2**64, count, dtype=np.uint64),
        np.zeros(count, np.int32),
        np.arange(count, dtype=np.int32),
    )
    bins = Bins(1)
    histogram = np.zeros((1, bins.count), np.int64)
    ranking.count_bins(histogram, rows, bins)
    windows = ranking.find_windows(histogram, np.array([[count // 2, 0]]), bins)
    assert windows.rows == count
    counts = np.zeros((1, ranking.NUM_RANKS, windows.bins), np.int64)
    ranking.count_inside(counts, rows, windows)
    assert ranking.narrow(windows, counts).rows < 10


@pytest.mark.parametrize("num_classes", [1, 10, 1000, 20_000, 200_000])
def test_bins_cover_all_confidences_in_order(num_classes):
    bins = Bins(num_classes)
    confidence = np.array(
        [1.0, 0.99999994, 0.9999, 0.9, 0.5, 0.49999997, 0.3, 1e-30, 1e-45, 0.0],
        np.float32,
    )
    of = bins.of(confidence).astype(np.int64)
    assert of[0] == 0
    assert (np.diff(of) >= 0).all()
    assert of[-1] < bins.count
    lowest = bins.lowest_confidence(of)
    assert (lowest <= confidence).all()
    assert (bins.of(lowest) == of).all()
    # The counts of all classes together stay small.
    assert num_classes * bins.count <= max(2**23, 61 * num_classes)


def test_bins_are_fine_where_networks_are_sure():
    bins = Bins(1000)
    near = (1 - np.geomspace(1e-6, 0.1, 50)).astype(np.float32)
    lowest = bins.lowest_confidence(bins.of(near).astype(np.int64))
    assert ((1 - lowest) <= (1 - near) * 1.04 + 1e-7).all()


def test_nothing_wanted_takes_nothing():
    rows = make_rows(np.random.default_rng(0), 3, 100)
    bins = Bins(3)
    histogram = np.zeros((3, bins.count), np.int64)
    ranking.count_bins(histogram, rows, bins)
    windows = ranking.find_windows(histogram, np.zeros((3, 2), np.int64), bins)
    assert windows.rows == 0
    assert not len(ranking.take_inside(rows, windows).row)
    nowhere = ranking.find_places(Rows.none(), windows, pytest.fail)
    assert nowhere == [[None, None]] * 3
