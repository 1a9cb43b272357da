"""Exact places in the order of every class, found by counting.

The predictions of a class stand in one total order: confidence, highest first, then
the key's hash, then the key. Which of 130 million stands in place 130,000 is found
without sorting them, as a radix sort would begin: the first pass counts into bins, and
tells in which bin each wanted rank is; where such bins hold too many rows, a second
pass counts inside of them; the last pass takes out the rows of those bins, which are
few, and sorts them. All that has to be merged are arrays of counts, so the result does
not depend on which rows were counted where.
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

#: Of a pass, over all classes: 64 MB of counts.
_MAX_BINS = 2**23
#: Of the fraction of a confidence's distance from 1; more would not fit into caches.
_MAX_FRACTION_BITS = 7
#: Rows that are taken out and sorted without counting once more: 50 MB of them.
MAX_ROWS = 2**21
#: Bits of the float32 1.0, the highest confidence. Floats that are not negative are
#: ordered as their bits are.
_ONE = np.uint32(0x3F800000)
#: An order key holds 30 bits of the confidence, then the first 34 of the key's hash.
_HASH_BITS = 34
_MANTISSA_BITS = 23
_OCTAVES = 30

#: Ranks that are sought in each class.
NUM_RANKS = 2


@dataclasses.dataclass(frozen=True)
class Place:
    """A place in the order of a class.

    The key is there only where confidence and hash are those of another prediction of
    the class as well.
    """

    confidence: float
    key_hash: int
    key: str | None = None


@dataclasses.dataclass(frozen=True)
class Rows:
    """Some predictions of one input shard, or of several, N of them.

    Attributes:
        label: int32 [N].
        confidence: float32 [N] in [0, 1].
        key_hash: uint64 [N].
        shard: int32 [N] input shards.
        row: int32 [N] positions in their shards.
    """

    label: NDArray[np.int32]
    confidence: NDArray[np.float32]
    key_hash: NDArray[np.uint64]
    shard: NDArray[np.int32]
    row: NDArray[np.int32]

    def take(self, indices: NDArray[Any]) -> Rows:
        """Returns the rows at some positions, or where a mask is true."""
        return Rows(
            *(getattr(self, field.name)[indices] for field in dataclasses.fields(self))
        )

    @classmethod
    def concatenate(cls, parts: Iterable[Rows]) -> Rows:
        """Returns the rows of all parts."""
        parts = [*parts, cls.none()]
        return cls(
            *(
                np.concatenate([getattr(part, field.name) for part in parts])
                for field in dataclasses.fields(cls)
            )
        )

    @classmethod
    def none(cls) -> Rows:
        """Returns no rows."""
        return cls(
            np.empty(0, np.int32),
            np.empty(0, np.float32),
            np.empty(0, np.uint64),
            np.empty(0, np.int32),
            np.empty(0, np.int32),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Bins:
    """Bins of the confidences of each class, from the highest down.

    Each power of two of the distance from 1 has as many: networks are sure of most
    images, so confidences crowd at 1. The bin that a class's threshold is in ends
    there, and what is left of it is one more: so the counts tell how many reach it.

    Attributes:
        thresholds: float32 [K]; none reaches one above 1.
    """

    thresholds: NDArray[np.float32]

    @property
    def count(self) -> int:
        """Bins of a class."""
        return self._uncut + 1

    @functools.cached_property
    def confident(self) -> NDArray[np.int64]:
        """Returns how many bins of each class reach its threshold, int64 [K]."""
        reaching = self._of_steps(_steps(self.thresholds)) + np.int64(1)
        return np.where(self.thresholds > 1, 0, reaching)

    def cells(
        self, label: NDArray[np.int32], confidence: NDArray[np.float32]
    ) -> NDArray[np.int64]:
        """Returns where to count each prediction, int64 [N], in [K * count]."""
        # There are fewer than 2**32, and adding up as uint32 takes half as long.
        cells = label.view(np.uint32) * np.uint32(self.count)
        cells += self._of_steps(_steps(confidence))
        cells += (confidence < self.thresholds.take(label)).view(np.uint8)
        return cells.astype(np.int64)

    def first_step(
        self, label: NDArray[np.int64], bins: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Returns where bins of classes begin; `bins` may be `count`, for the end.

        A step is the number of float32 between a confidence and 1.
        """
        cut = self.confident[label]
        steps = self._edges[bins - (bins > cut)]
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
    def _uncut(self) -> int:
        """Bins of a class, were it not for its threshold."""
        return (_OCTAVES << self._fraction_bits) + 1

    @functools.cached_property
    def _edges(self) -> NDArray[np.int64]:
        """Returns the first step of each uncut bin, and the end of the last."""
        low = np.zeros(self._uncut, np.uint32)
        high = np.full(self._uncut, _ONE + 1, np.uint32)
        numbers = np.arange(self._uncut)
        while (low < high).any():
            middle = (low + high) // 2
            is_before = self._of_steps(middle) < numbers
            is_open = low < high
            low = np.where(is_open & is_before, middle + 1, low)
            high = np.where(is_open & ~is_before, middle, high)
        return np.append(low, _ONE + 1).astype(np.int64)

    def _of_steps(self, steps: NDArray[np.uint32]) -> NDArray[np.uint32]:
        # The exponent and the first bits of the fraction, from those of 1 on.
        first = np.uint32((127 << self._fraction_bits) - 1)
        bits = steps.astype(np.float32).view(np.uint32)
        bins = bits >> np.uint32(_MANTISSA_BITS - self._fraction_bits)
        return np.minimum(np.maximum(bins, first) - first, np.uint32(self._uncut - 1))


@dataclasses.dataclass(frozen=True)
class Windows:
    """Where in the orders of the classes the wanted ranks are known to be.

    Attributes:
        rank: int64 [K, NUM_RANKS] wanted, from 1; 0 for none.
        before: int64 [K, NUM_RANKS] rows of the class in front of the window.
        low: uint64 [K, NUM_RANKS] first order key.
        span: uint64 [K, NUM_RANKS] order keys in it; 0 where no rank is wanted.
        rows: How many rows all windows hold.
    """

    rank: NDArray[np.int64]
    before: NDArray[np.int64]
    low: NDArray[np.uint64]
    span: NDArray[np.uint64]
    rows: int

    @property
    def are_wide(self) -> bool:
        """Whether they hold so many rows that it pays to count once more."""
        return self.rows > MAX_ROWS

    @functools.cached_property
    def shift(self) -> NDArray[np.uint64]:
        """Returns by how many bits, uint64 [K, NUM_RANKS], keys become bins."""
        # In Python's integers: a float64 holds 53 bits of the 64.
        lengths = [max(0, int(span) - 1).bit_length() for span in self.span.flat]
        kept = self.bins.bit_length() - 1
        bits = np.maximum(np.array(lengths, np.int64) - kept, 0)
        return bits.astype(np.uint64).reshape(self.span.shape)

    @property
    def bins(self) -> int:
        """Of a window, a power of two."""
        most: int = _MAX_BINS // max(1, self.rank.size)
        return 1 << (max(2, most).bit_length() - 1)

    def inside(self, rows: Rows) -> list[NDArray[np.bool_]]:
        """Returns for each of the ranks which rows are in its window."""
        keys = order_keys(rows)
        return [
            (keys - self.low[:, rank].take(rows.label))
            < self.span[:, rank].take(rows.label)
            for rank in range(NUM_RANKS)
        ]


def order_keys(rows: Rows) -> NDArray[np.uint64]:
    """Returns uint64 [N], lower for what stands earlier in the order of its class.

    Equal ones may still differ in the last bits of the hash, and in the key.
    """
    steps = _steps(rows.confidence).astype(np.uint64) << np.uint64(_HASH_BITS)
    return steps | (rows.key_hash >> np.uint64(64 - _HASH_BITS))


def find_windows(
    histogram: NDArray[np.int64], rank: NDArray[np.int64], bins: Bins
) -> Windows:
    """Returns in which bin each rank is.

    Args:
        histogram: int64 [K, bins.count] of `bins.cells` of all rows.
        rank: int64 [K, NUM_RANKS], from 1; 0 for none.
        bins: What was counted into.
    """
    found, before, inside = _find_bins(histogram[:, None, :], rank)
    label = np.arange(len(rank))[:, None]
    low, end = (
        bins.first_step(label, edge).astype(np.uint64) << np.uint64(_HASH_BITS)
        for edge in (found, found + 1)
    )
    span = np.where(rank > 0, end - low, np.uint64(0))
    return Windows(rank, before, low, span, int(inside.sum()))


def cells_inside(rows: Rows, windows: Windows) -> NDArray[np.int64]:
    """Returns where to count rows, int64, in [K * NUM_RANKS * windows.bins].

    Those in the windows of both ranks are counted for each.
    """
    keys = order_keys(rows)
    cells = []
    for rank, is_inside in enumerate(windows.inside(rows)):
        label = rows.label[is_inside].astype(np.int64)
        within = keys[is_inside] - windows.low[label, rank]
        within >>= windows.shift[label, rank]
        cells.append(
            (label * NUM_RANKS + rank) * windows.bins + within.astype(np.int64)
        )
    return np.concatenate(cells)


def narrow(windows: Windows, histogram: NDArray[np.int64]) -> Windows:
    """Returns the windows' bins that the ranks are in, by counts of `cells_inside`."""
    found, before, inside = _find_bins(histogram, windows.rank - windows.before)
    size = np.uint64(1) << windows.shift
    offset = found.astype(np.uint64) * size
    is_wanted = windows.rank > 0
    return Windows(
        windows.rank,
        windows.before + before,
        windows.low + np.where(is_wanted, offset, np.uint64(0)),
        np.where(is_wanted, np.minimum(size, windows.span - offset), np.uint64(0)),
        int(inside.sum()),
    )


def take_inside(rows: Rows, windows: Windows) -> Rows:
    """Returns the rows that are in some window."""
    return rows.take(
        np.flatnonzero(functools.reduce(np.bitwise_or, windows.inside(rows)))
    )


def find_places(
    rows: Rows, windows: Windows, read_keys: ReadKeys
) -> list[list[Place | None]]:
    """Returns the place of each rank of each class, [K][NUM_RANKS].

    Args:
        rows: What `take_inside` has found in all shards, in any order.
        windows: The same as then.
        read_keys: Called for what only the keys can tell apart, if anything.
    """
    rows = _sort(rows)
    keys = order_keys(rows)
    num_classes = len(windows.rank)
    starts = np.searchsorted(rows.label, np.arange(num_classes))
    places: list[list[Place | None]] = [[] for _ in range(num_classes)]
    for rank in range(NUM_RANKS):
        is_before = keys < windows.low[:, rank].take(rows.label)
        before = np.bincount(rows.label[is_before], minlength=num_classes)
        index = starts + before + (windows.rank - windows.before)[:, rank] - 1
        for label, wanted in enumerate(windows.rank[:, rank].tolist()):
            place = _place(rows, int(index[label]), read_keys) if wanted else None
            places[label].append(place)
    return places


def _sort(rows: Rows) -> Rows:
    """Returns the rows by label, then in the order of their class but for the key."""
    order = {"label": "ascending", "confidence": "descending", "key_hash": "ascending"}
    # Arrow's sort takes half as long as NumPy's.
    table = pa.table({name: getattr(rows, name) for name in order})
    return rows.take(pc.sort_indices(table, sort_keys=list(order.items())).to_numpy())


def _place(rows: Rows, index: int, read_keys: ReadKeys) -> Place:
    label, confidence = rows.label[index], rows.confidence[index]
    key_hash = rows.key_hash[index]

    def is_tied(other: int) -> bool:
        return bool(
            rows.label[other] == label
            and rows.confidence[other] == confidence
            and rows.key_hash[other] == key_hash
        )

    start, end = index, index + 1
    while start > 0 and is_tied(start - 1):
        start -= 1
    while end < len(rows.label) and is_tied(end):
        end += 1
    key = None
    if end - start > 1:
        keys = read_keys(rows.shard[start:end], rows.row[start:end])
        key = sorted(keys, key=str.encode)[index - start]
    return Place(float(confidence), int(key_hash), key)


def _find_bins(
    histogram: NDArray[np.int64], rank: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Returns the bin each rank is in, the rows before it, and those in it.

    Args:
        histogram: int64 [K, 1 or NUM_RANKS, bins].
        rank: int64 [K, NUM_RANKS], from 1; 0 or less for none.
    """
    total = np.cumsum(histogram, axis=2)
    found = np.count_nonzero(total < rank[:, :, None], axis=2)
    found = np.where(rank > 0, np.minimum(found, total.shape[2] - 1), 0)
    of_rank = np.broadcast_to(histogram, (*rank.shape, histogram.shape[2]))
    inside = np.take_along_axis(of_rank, found[:, :, None], axis=2)[:, :, 0]
    upto = np.take_along_axis(
        np.broadcast_to(total, of_rank.shape), found[:, :, None], axis=2
    )[:, :, 0]
    is_wanted = rank > 0
    return (
        found,
        np.where(is_wanted, upto - inside, 0),
        np.where(is_wanted, inside, 0),
    )


def _steps(confidence: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Returns how many float32 are between each confidence in [0, 1] and 1."""
    return _ONE - np.ascontiguousarray(confidence).view(np.uint32)
