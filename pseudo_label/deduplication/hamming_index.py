"""Exact search for 64-bit hashes within a small Hamming distance of each other.

The bits are cut into more blocks than may differ, so two hashes that are close agree on
several blocks. Each table sorts the hashes by the bits of one combination of blocks
(its mask), and only hashes that agree on them are compared: Manku et al., "Detecting
Near-Duplicates for Web Crawling" (WWW 2007).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MAX_BITS = 3
#: Result for queries without a hash nearby, above any value.
NONE = np.iinfo(np.int64).max
_HASH_BITS = 64
#: Number of blocks by the number of bits that may differ. The 1, 2, 6 and 20 masks have
#: 64, 32, 32 and 31 to 33 bits: few of 130 million hashes agree on them by chance.
_BLOCKS = (1, 2, 4, 6)
#: Number of hashes that can be compared in the time of one look-up.
_COMPARED_PER_LOOK_UP = 8
#: Hashes compared in one step, which takes some tens of megabytes.
_STEP_SIZE = 2**20


def check_bits(bits: int) -> None:
    """Raises ValueError unless `bits` bits may differ."""
    if not 0 <= bits <= MAX_BITS:
        raise ValueError(f"bits must be in 0..{MAX_BITS}, got {bits}")


@functools.cache
def masks(bits: int) -> tuple[np.uint64, ...]:
    """Returns the mask of each table for a distance of at most `bits` bits.

    Any two hashes at that distance agree on all bits of at least one mask.
    """
    blocks = np.array_split(np.arange(_HASH_BITS), _BLOCKS[bits])
    chosen = itertools.combinations(blocks, len(blocks) - bits)
    return tuple(
        np.uint64(sum(1 << int(bit) for block in combination for bit in block))
        for combination in chosen
    )


class Table:
    """Hashes sorted by the bits of one mask.

    A pair that agrees on several masks is found only by the first of their tables.
    """

    def __init__(
        self,
        hashes: NDArray[np.uint64],
        values: NDArray[np.int64],
        bits: int,
        number: int,
    ) -> None:
        """Sorts the hashes.

        Args:
            hashes: uint64 [N], distinct and ascending.
            values: int64 [N], value of each hash; a query returns the lowest.
            bits: Highest distance, in bits.
            number: Index of the mask.
        """
        self._hashes, self._values = hashes, values
        self._bits, self._number = bits, number
        self._mask = masks(bits)[number]
        keys = hashes & self._mask
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]

    def lowest(
        self, queries: NDArray[np.uint64], *, per_bit: int = 0
    ) -> NDArray[np.int64]:
        """Returns the lowest value of the hashes near each query, int64 [Q], or NONE.

        `per_bit` is added to a hash's value for each bit that differs.
        """
        lowest = np.full(len(queries), NONE)
        keys = queries & self._mask
        starts = np.searchsorted(self._keys, keys, "left")
        counts = np.searchsorted(self._keys, keys, "right") - starts
        flips = len(_flips(self._bits, self._number))
        # Bounds the work however many hashes agree on the mask.
        is_long = counts > flips * _COMPARED_PER_LOOK_UP
        for part in _split(np.flatnonzero((counts > 0) & ~is_long), counts):
            which, at = _expand(starts[part], counts[part])
            which, at = part[which], self._order[at]
            self._compare(lowest, queries, which, at, per_bit)
        if is_long.any():
            lowest[is_long] = self._look_up(queries[is_long], per_bit)
        return lowest

    def _compare(
        self,
        lowest: NDArray[np.int64],
        queries: NDArray[np.uint64],
        which: NDArray[np.int64],
        at: NDArray[np.int64],
        per_bit: int,
    ) -> None:
        """Updates the lowest values of the queries `which` by the hashes `at`."""
        differing = queries[which] ^ self._hashes[at]
        count = np.bitwise_count(differing)
        near = np.flatnonzero(count <= self._bits)
        near = near[_is_first(differing[near], self._bits, self._number)]
        values = self._values[at[near]] + count[near].astype(np.int64) * per_bit
        np.minimum.at(lowest, which[near], values)

    def _look_up(self, queries: NDArray[np.uint64], per_bit: int) -> NDArray[np.int64]:
        """Returns the lowest values by looking up every hash near each query."""
        lowest = np.full(len(queries), NONE)
        for flip in _flips(self._bits, self._number):
            wanted = queries ^ flip
            at = np.searchsorted(self._hashes, wanted)
            at[at == len(self._hashes)] = 0
            values = self._values[at] + int(flip).bit_count() * per_bit
            is_there = self._hashes[at] == wanted
            lowest = np.where(is_there, np.minimum(lowest, values), lowest)
        return lowest


@functools.cache
def _flips(bits: int, number: int) -> NDArray[np.uint64]:
    """Returns the bit differences that a table has to find, uint64."""
    mask = int(masks(bits)[number])
    free = [1 << bit for bit in range(_HASH_BITS) if not mask >> bit & 1]
    flipped = itertools.chain.from_iterable(
        itertools.combinations(free, count) for count in range(bits + 1)
    )
    flips = np.array([sum(values) for values in flipped], np.uint64)
    return flips[_is_first(flips, bits, number)]


def _is_first(
    differing: NDArray[np.uint64], bits: int, number: int
) -> NDArray[np.bool_]:
    """Whether no earlier table finds pairs with these bit differences, bool."""
    is_first = np.ones(len(differing), bool)
    for mask in masks(bits)[:number]:
        is_first &= (differing & mask) != 0
    return is_first


def _split(
    indices: NDArray[np.int64], counts: NDArray[np.int64]
) -> Sequence[NDArray[np.int64]]:
    """Returns the indices in parts of about `_STEP_SIZE` comparisons."""
    ends = np.cumsum(counts[indices])
    if not len(ends):
        return []
    cuts = np.searchsorted(ends, np.arange(_STEP_SIZE, ends[-1], _STEP_SIZE))
    return np.split(indices, cuts)


def _expand(
    starts: NDArray[np.int64], counts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns all positions of all ranges: the index of the range, and the position."""
    which = np.repeat(np.arange(len(counts)), counts)
    before = np.cumsum(counts) - counts
    return which, np.arange(len(which)) + (starts - before)[which]
