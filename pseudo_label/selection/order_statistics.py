"""Exact order statistics of every class by distributed radix selection.

The predictions of a class have one total order: confidence (highest first), then the
key's hash, then the key. The order statistic of rank r is the r-th prediction in it.
It is found in a few passes over the predictions, without sorting them:

1. Each worker counts confidences into one histogram per class; histograms add up.
2. The cumulative counts give the bin that holds each wanted rank: the rank window.
3. If the windows hold too many rows, one more pass counts the next digit of the sort
   key inside each window and narrows the window to one digit: a digit of the
   confidence, or of the hash where the window holds a single confidence.
4. The last pass takes the rows inside the windows, which are few, and sorts them.

This is a radix sort from the most significant digit (Knuth, The Art of Computer
Programming, vol. 3, section 5.2.5) that continues only in the bucket of the wanted
rank, in passes of limited memory (Munro and Paterson, Selection and sorting with
limited storage, Theoretical Computer Science 12, 1980). Counts add up in any order, so
the result does not depend on which worker counts which rows. `docs/selection.md` has
the formula of the bins and a worked example.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pseudo_label.predictions.schema import ReadKeys
from stage.typed_json import Hash

#: Wanted ranks of each class.
NUM_RANKS = 2
#: Maximum number of rows to sort without narrowing the windows first: 50 MB.
MAX_ROWS = 2**21
#: Maximum number of bins over all classes, but for a few: 64 MB of counts.
_MAX_BINS = 2**23
#: Maximum number of fraction bits of the distance from 1; with more, counts do not fit
#: into caches.
_MAX_FRACTION_BITS = 7
#: Bits of the float32 1.0. Non-negative floats have the order of their bits.
_ONE = np.uint32(0x3F800000)
_MANTISSA_BITS = 23
#: Powers of two among the numbers of steps from 1 down to 0.
_OCTAVES = 30
_LAST_HASH = np.uint64(2**64 - 1)


@dataclasses.dataclass(frozen=True)
class OrderStatistic:
    """The sort key of a prediction at a wanted rank.

    The key is given only where another prediction of the class has the same confidence
    and hash.
    """

    confidence: float
    key_hash: Hash
    key: str | None = None


@dataclasses.dataclass(frozen=True)
class Rows:
    """N predictions of one or several input shards.

    Attributes:
        label: int32 [N].
        confidence: float32 [N] in [0, 1].
        key_hash: uint64 [N].
        shard: int32 [N], index of the input shard.
        row: int32 [N], position in the input shard.
    """

    label: NDArray[np.int32]
    confidence: NDArray[np.float32]
    key_hash: NDArray[np.uint64]
    shard: NDArray[np.int32]
    row: NDArray[np.int32]

    def take(self, indices: NDArray[Any]) -> Rows:
        """Returns the rows at some positions, or where a mask is true."""
        return Rows(*(column[indices] for column in vars(self).values()))

    @classmethod
    def concatenate(cls, parts: Iterable[Rows]) -> Rows:
        """Returns the rows of all parts."""
        columns = [vars(part).values() for part in (*parts, cls.none())]
        return cls(*map(np.concatenate, zip(*columns, strict=True)))

    @classmethod
    def none(cls) -> Rows:
        """Returns zero rows."""
        integers = np.empty(0, np.int32)
        floats, hashes = np.empty(0, np.float32), np.empty(0, np.uint64)
        return cls(integers, floats, hashes, integers, integers)


@dataclasses.dataclass(frozen=True, eq=False)
class HistogramBins:
    """The bins of each class's histogram of confidences, from the highest down.

    Bins are logarithmic in the distance from 1, where the confidences of networks
    crowd: each power of two has the same number of bins. The bin that holds the
    threshold of its class is cut in two at the threshold, so that the counts give the
    exact number of predictions that reach it.

    The distance is measured in steps; a step leads to the next lower float32 value.

    Attributes:
        thresholds: float32 [K]; no confidence reaches one above 1.
    """

    thresholds: NDArray[np.float32]

    @property
    def num_bins(self) -> int:
        """Bins of a class."""
        return self._num_uncut + 1

    @functools.cached_property
    def num_confident(self) -> NDArray[np.int64]:
        """Number of leading bins that reach the threshold of each class, int64 [K]."""
        reaching = self._uncut_bin(_steps(self.thresholds)) + np.int64(1)
        return np.where(self.thresholds > 1, 0, reaching)

    def index(
        self, label: NDArray[np.int32], confidence: NDArray[np.float32]
    ) -> NDArray[np.int64]:
        """Returns the index of each prediction's bin in [K * num_bins], int64 [N]."""
        # There are fewer than 2**32; adding uint32 takes half the time of int64.
        index = label.view(np.uint32) * np.uint32(self.num_bins)
        index += self._uncut_bin(_steps(confidence))
        index += (confidence < self.thresholds.take(label)).view(np.uint8)
        return index.astype(np.int64)

    def first_step(
        self, label: NDArray[np.int64], bins: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Returns the first step of bins of classes; of bin `num_bins`, the end."""
        cut = self.num_confident[label]
        steps = self._uncut_edges[bins - (bins > cut)]
        below = _steps(self.thresholds)[label].astype(np.int64) + 1
        return np.where(bins == cut, np.where(cut > 0, below, 0), steps)

    def lowest_confidence(
        self, label: NDArray[np.int64], bins: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Returns the lowest confidence, float32, of bins of classes."""
        last_step = self.first_step(label, bins + 1) - 1
        return (_ONE - last_step.astype(np.uint32)).view(np.float32)

    @property
    def _fraction_bits(self) -> int:
        bins = max(1, _MAX_BINS // (len(self.thresholds) * _OCTAVES))
        return min(_MAX_FRACTION_BITS, bins.bit_length() - 1)

    @property
    def _num_uncut(self) -> int:
        """Bins of a class before one is cut at the threshold."""
        return (_OCTAVES << self._fraction_bits) + 1

    @functools.cached_property
    def _uncut_edges(self) -> NDArray[np.int64]:
        """First step of each uncut bin, and the end of the last, by bisection."""
        low = np.zeros(self._num_uncut, np.uint32)
        high = np.full(self._num_uncut, _ONE + 1, np.uint32)
        numbers = np.arange(self._num_uncut)
        while (low < high).any():
            middle = (low + high) // 2
            is_before = self._uncut_bin(middle) < numbers
            is_open = low < high
            low = np.where(is_open & is_before, middle + 1, low)
            high = np.where(is_open & ~is_before, middle, high)
        return np.append(low, _ONE + 1).astype(np.int64)

    def _uncut_bin(self, steps: NDArray[np.uint32]) -> NDArray[np.uint32]:
        # The exponent and the first fraction bits of the steps, counted from 1.0.
        first = np.uint32((127 << self._fraction_bits) - 1)
        bits = steps.astype(np.float32).view(np.uint32)
        bins = bits >> np.uint32(_MANTISSA_BITS - self._fraction_bits)
        last = np.uint32(self._num_uncut - 1)
        return np.minimum(np.maximum(bins, first) - first, last)


@dataclasses.dataclass(frozen=True)
class RankWindows:
    """For each wanted rank a range of sort keys that holds it, [K, NUM_RANKS].

    A window of several steps holds all hashes.

    Attributes:
        ranks: int64, wanted ranks from 1; 0 for none.
        rows_before: int64, rows of the class before the window.
        first_step: uint32, first step (distance of the confidence from 1).
        num_steps: uint32, number of steps; 0 where no rank is wanted.
        first_hash: uint64, lowest hash of a key.
        hash_span: uint64, highest hash minus lowest hash.
        rows: Number of rows inside all windows together.
    """

    ranks: NDArray[np.int64]
    rows_before: NDArray[np.int64]
    first_step: NDArray[np.uint32]
    num_steps: NDArray[np.uint32]
    first_hash: NDArray[np.uint64]
    hash_span: NDArray[np.uint64]
    rows: int

    @property
    def are_wide(self) -> bool:
        """Whether they hold more rows than are sorted without narrowing."""
        return self.rows > MAX_ROWS

    @property
    def num_digits(self) -> int:
        """Digits that a window is divided into, a power of two."""
        most: int = _MAX_BINS // max(1, self.ranks.size)
        return 1 << (max(2, most).bit_length() - 1)

    @functools.cached_property
    def shift(self) -> NDArray[np.uint64]:
        """Right shift that turns an offset in a window into its digit, uint64."""
        last = np.where(self.is_split_by_hash, self.hash_span, self.num_steps - 1)
        # In Python's integers: a float64 holds 53 of the 64 bits.
        lengths = np.array([int(offset).bit_length() for offset in last.flat])
        kept = self.num_digits.bit_length() - 1
        return np.maximum(lengths - kept, 0).astype(np.uint64).reshape(last.shape)

    @property
    def is_split_by_hash(self) -> NDArray[np.bool_]:
        """Whether the next digit is one of the hash, not of the confidence, bool."""
        return self.num_steps <= 1

    def find_inside(self, rows: Rows) -> list[NDArray[np.int64]]:
        """Returns for each rank the positions of the rows inside its window."""
        steps = _steps(rows.confidence)
        found = []
        for rank in range(NUM_RANKS):
            offset = steps - self.first_step[:, rank].take(rows.label)
            at = np.flatnonzero(offset < self.num_steps[:, rank].take(rows.label))
            label = rows.label[at]
            hash_offset = rows.key_hash[at] - self.first_hash[label, rank]
            found.append(at[hash_offset <= self.hash_span[label, rank]])
        return found


def find_windows(
    histogram: NDArray[np.int64], ranks: NDArray[np.int64], bins: HistogramBins
) -> RankWindows:
    """Returns the bin of each rank as its window.

    Args:
        histogram: int64 [K, bins.num_bins], counts of `bins.index` over all rows.
        ranks: int64 [K, NUM_RANKS], from 1; 0 for none.
        bins: Bins of the histogram.
    """
    found, before, inside = _find_digits(histogram[:, None, :], ranks)
    label = np.arange(len(ranks))[:, None]
    first, end = (bins.first_step(label, edge) for edge in (found, found + 1))
    return RankWindows(
        ranks=ranks,
        rows_before=before,
        first_step=first.astype(np.uint32),
        num_steps=np.where(ranks > 0, end - first, 0).astype(np.uint32),
        first_hash=np.zeros(ranks.shape, np.uint64),
        hash_span=np.full(ranks.shape, _LAST_HASH),
        rows=int(inside.sum()),
    )


def digit_index(rows: Rows, windows: RankWindows) -> NDArray[np.int64]:
    """Returns the indices, in [K * NUM_RANKS * num_digits], of digits inside windows.

    A row in the windows of both ranks has two.
    """
    indices = []
    for rank, at in enumerate(windows.find_inside(rows)):
        label = rows.label[at].astype(np.int64)
        step_offset = _steps(rows.confidence[at]) - windows.first_step[label, rank]
        hash_offset = rows.key_hash[at] - windows.first_hash[label, rank]
        is_split_by_hash = windows.is_split_by_hash[label, rank]
        offset = np.where(is_split_by_hash, hash_offset, step_offset)
        digit = (offset >> windows.shift[label, rank]).astype(np.int64)
        indices.append((label * NUM_RANKS + rank) * windows.num_digits + digit)
    return np.concatenate(indices)


def narrow(windows: RankWindows, histogram: NDArray[np.int64]) -> RankWindows:
    """Returns windows cut down to the digit of each rank.

    The histogram, int64 [K, NUM_RANKS, num_digits], counts values of `digit_index`.
    """
    found, before, inside = _find_digits(histogram, windows.ranks - windows.rows_before)
    size = np.uint64(1) << windows.shift
    offset = found.astype(np.uint64) << windows.shift
    by_hash = windows.is_split_by_hash
    step_offset = np.where(by_hash, 0, offset).astype(np.uint32)
    hash_offset = np.where(by_hash, offset, np.uint64(0))
    steps = np.minimum(size, windows.num_steps - step_offset).astype(np.uint32)
    span = np.minimum(size - np.uint64(1), windows.hash_span - hash_offset)
    return RankWindows(
        ranks=windows.ranks,
        rows_before=windows.rows_before + before,
        first_step=windows.first_step + step_offset,
        num_steps=np.where(by_hash, windows.num_steps, steps),
        first_hash=windows.first_hash + hash_offset,
        hash_span=np.where(by_hash, span, windows.hash_span),
        rows=int(inside.sum()),
    )


def take_inside(rows: Rows, windows: RankWindows) -> Rows:
    """Returns the rows that are inside some window."""
    return rows.take(np.unique(np.concatenate(windows.find_inside(rows))))


def find_order_statistics(
    rows: Rows, windows: RankWindows, read_keys: ReadKeys
) -> list[list[OrderStatistic | None]]:
    """Returns the order statistic of each rank of each class, [K][NUM_RANKS].

    Args:
        rows: Result of `take_inside` over all shards, in any order.
        windows: Windows that the rows were taken from.
        read_keys: Reads the keys of rows that agree in confidence and hash, if any.
    """
    rows = _sort(rows)
    steps = _steps(rows.confidence)
    num_classes = len(windows.ranks)
    starts = np.searchsorted(rows.label, np.arange(num_classes))
    statistics: list[list[OrderStatistic | None]] = [[] for _ in range(num_classes)]
    for rank in range(NUM_RANKS):
        first_step = windows.first_step[:, rank].take(rows.label)
        first_hash = windows.first_hash[:, rank].take(rows.label)
        # Rows of the other rank's window may come first.
        is_before = (steps < first_step) | (
            (steps == first_step) & (rows.key_hash < first_hash)
        )
        before = np.bincount(rows.label[is_before], minlength=num_classes)
        in_window = (windows.ranks - windows.rows_before)[:, rank]
        index = starts + before + in_window - 1
        for label, wanted in enumerate(windows.ranks[:, rank].tolist()):
            statistics[label].append(
                _order_statistic(rows, int(index[label]), read_keys) if wanted else None
            )
    return statistics


def _sort(rows: Rows) -> Rows:
    """Returns the rows by label, confidence and key hash, but not by key."""
    order = {"label": "ascending", "confidence": "descending", "key_hash": "ascending"}
    # Arrow's sort takes half the time of NumPy's.
    table = pa.table({name: getattr(rows, name) for name in order})
    return rows.take(pc.sort_indices(table, sort_keys=list(order.items())).to_numpy())


def _order_statistic(rows: Rows, index: int, read_keys: ReadKeys) -> OrderStatistic:
    """Returns the order statistic at a position of sorted rows; breaks ties by key."""

    def sort_key(at: int) -> tuple[Any, ...]:
        return rows.label[at], rows.confidence[at], rows.key_hash[at]

    start, end = index, index + 1
    while start > 0 and sort_key(start - 1) == sort_key(index):
        start -= 1
    while end < len(rows.label) and sort_key(end) == sort_key(index):
        end += 1
    key = None
    if end - start > 1:
        keys = read_keys(rows.shard[start:end], rows.row[start:end])
        key = sorted(keys, key=str.encode)[index - start]
    return OrderStatistic(float(rows.confidence[index]), int(rows.key_hash[index]), key)


def _find_digits(
    histogram: NDArray[np.int64], ranks: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Returns the digit or bin of each rank, the rows before it, and those in it.

    Args:
        histogram: int64 [K, 1 or NUM_RANKS, digits].
        ranks: int64 [K, NUM_RANKS], from 1; 0 or less for none.
    """
    is_wanted = ranks > 0
    cumulative = np.cumsum(histogram, axis=2)
    found = np.count_nonzero(cumulative < ranks[:, :, None], axis=2)
    found = np.where(is_wanted, np.minimum(found, histogram.shape[2] - 1), 0)

    def at_found(counts: NDArray[np.int64]) -> NDArray[np.int64]:
        of_ranks = np.broadcast_to(counts, (*ranks.shape, counts.shape[2]))
        values = np.take_along_axis(of_ranks, found[:, :, None], axis=2)[:, :, 0]
        return np.where(is_wanted, values, 0)

    inside = at_found(histogram)
    return found, at_found(cumulative) - inside, inside


def _steps(confidence: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Returns how many float32 values each confidence in [0, 1] is below 1."""
    return _ONE - np.ascontiguousarray(confidence).view(np.uint32)
