import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudo_label.selection import order_statistics
from pseudo_label.selection.order_statistics import HistogramBins, OrderStatistic, Rows


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


def sort_all(rows, rank):
    """Order statistics from sorting each class."""
    statistics = []
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
        statistics.append(
            [
                OrderStatistic(-members[r - 1][0], members[r - 1][1]) if r else None
                for r in wanted
            ]
        )
    return statistics


def make_bins(rng, num_classes):
    """Bins with thresholds of all kinds: usual ones, the ends, out of reach."""
    usual = 1 - rng.random(num_classes) ** 4
    kinds = rng.choice([0.0, 1e-30, 0.1, 0.5, 0.99999994, 1.0, np.inf], num_classes)
    is_usual = rng.random(num_classes) < 0.5
    return HistogramBins(np.where(is_usual, usual, kinds).astype(np.float32))


def count(rows, bins):
    cells = bins.index(rows.label, rows.confidence)
    size = len(bins.thresholds) * bins.num_bins
    return np.bincount(cells, minlength=size).reshape(-1, bins.num_bins)


def count_inside(rows, windows):
    shape = (*windows.ranks.shape, windows.num_digits)
    cells = order_statistics.digit_index(rows, windows)
    return np.bincount(cells, minlength=np.prod(shape)).reshape(shape)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    num_classes=st.integers(1, 30),
    size=st.integers(0, 3000),
    max_bins=st.sampled_from([2**8, 2**12, 2**23]),
)
def test_order_statistics_are_those_of_sorting(seed, num_classes, size, max_bins):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order_statistics, "_MAX_BINS", max_bins)
        check_order_statistics(seed, num_classes, size)


def check_order_statistics(seed, num_classes, size):
    rng = np.random.default_rng(seed)
    rows = make_rows(rng, num_classes, size)
    of_class = np.bincount(rows.label, minlength=num_classes)
    rank = rng.integers(
        0, of_class[:, None] + 1, (num_classes, order_statistics.NUM_RANKS)
    )
    bins = make_bins(rng, num_classes)
    windows = order_statistics.find_windows(count(rows, bins), rank, bins)
    expected = sort_all(rows, rank)
    for _ in range(3):
        inside = order_statistics.take_inside(rows, windows)
        assert len(inside.row) <= windows.rows
        assert (
            order_statistics.find_order_statistics(inside, windows, pytest.fail)
            == expected
        )
        windows = order_statistics.narrow(windows, count_inside(rows, windows))


def test_a_window_with_all_rows_at_one_confidence_narrows_by_their_hashes():
    rng = np.random.default_rng(0)
    size = 20_000
    rows = Rows(
        np.zeros(size, np.int32),
        np.ones(size, np.float32),
        rng.integers(0, 2**64, size, dtype=np.uint64),
        np.zeros(size, np.int32),
        np.arange(size, dtype=np.int32),
    )
    bins = HistogramBins(np.array([0.5], np.float32))
    rank = np.array([[size // 2, 0]])
    windows = order_statistics.find_windows(count(rows, bins), rank, bins)
    assert windows.rows == size
    assert order_statistics.narrow(windows, count_inside(rows, windows)).rows < 10


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32), num_classes=st.integers(1, 30))
def test_bins_tell_how_many_reach_the_threshold(seed, num_classes):
    rng = np.random.default_rng(seed)
    bins = make_bins(rng, num_classes)
    rows = make_rows(rng, num_classes, 3000)
    # The thresholds themselves, and their neighbors, are what could be miscounted.
    labels = np.arange(num_classes, dtype=np.int32)
    edges = np.minimum(bins.thresholds, 1)
    near = [edges, np.nextafter(edges, np.float32(0)), np.nextafter(edges, edges + 1)]
    label = np.concatenate([rows.label, *[labels] * 3])
    confidence = np.minimum(np.concatenate([rows.confidence, *near]), 1)
    histogram = count(
        Rows(label, confidence.astype(np.float32), *[np.empty(0)] * 3), bins
    )
    is_confident = confidence >= bins.thresholds[label]
    assert [
        counts[:reaching].sum()
        for counts, reaching in zip(histogram, bins.num_confident, strict=True)
    ] == np.bincount(label[is_confident], minlength=num_classes).tolist()


@pytest.mark.parametrize("num_classes", [1, 10, 1000, 20_000, 200_000])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.37, 1.0, np.inf])
def test_bins_cover_all_confidences_in_order(num_classes, threshold):
    bins = HistogramBins(np.full(num_classes, threshold, np.float32))
    confidence = np.array(
        [1.0, 0.99999994, 0.9999, 0.9, 0.5, 0.49999997, 0.3, 1e-30, 1e-45, 0.0],
        np.float32,
    )
    label = np.full(len(confidence), num_classes - 1, np.int32)
    of = bins.index(label, confidence) - (num_classes - 1) * bins.num_bins
    assert of[0] == (threshold > 1)
    assert (np.diff(of) >= 0).all()
    assert of[-1] < bins.num_bins
    lowest = bins.lowest_confidence(label, of)
    assert (lowest <= confidence).all()
    assert (bins.index(label, lowest) % bins.num_bins == of).all()
    everything = np.arange(bins.num_bins + 1)
    first = bins.first_step(np.zeros_like(everything), everything)
    assert (np.diff(first) >= 0).all()
    # The counts of all classes together stay small.
    assert num_classes * bins.num_bins <= max(2**23, 62 * num_classes)


def test_bins_are_fine_where_networks_are_sure():
    bins = HistogramBins(np.full(1000, 0.5, np.float32))
    near = (1 - np.geomspace(1e-6, 0.1, 50)).astype(np.float32)
    label = np.zeros(len(near), np.int32)
    lowest = bins.lowest_confidence(label, bins.index(label, near))
    assert ((1 - lowest) <= (1 - near) * 1.04 + 1e-7).all()


def test_nothing_wanted_takes_nothing():
    rows = make_rows(np.random.default_rng(0), 3, 100)
    bins = make_bins(np.random.default_rng(1), 3)
    nothing = np.zeros((3, order_statistics.NUM_RANKS), np.int64)
    windows = order_statistics.find_windows(count(rows, bins), nothing, bins)
    assert windows.rows == 0
    assert not len(order_statistics.take_inside(rows, windows).row)
    nowhere = order_statistics.find_order_statistics(Rows.none(), windows, pytest.fail)
    assert nowhere == [[None, None]] * 3
