"""Images of the corpus that leaked from sets which are to be kept apart from it.

A row is *leaked* if it has the bytes of any image of an excluded set or, where looks
count, a perceptual hash at most `bits` bits from one's. Its twin has the same bytes; if
none has, it is the nearest one; of those, the first by set, shard and row.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pseudo_label.deduplication import hamming_index
from pseudo_label.deduplication.near_duplicates import (
    BYTES_COLUMN,
    PAIR,
    PLACE,
    Array,
    share_fate,
    to_digests,
    to_hashes,
)

#: What finding leaks needs of images, excluded ones and others.
COLUMNS = ("perceptual_hash", BYTES_COLUMN)


@dataclasses.dataclass(frozen=True)
class Excluded:
    """The images of all excluded sets, N of them, by set, shard and row.

    Attributes:
        places: PLACE [N].
        digests: uint64 [N,4], the SHA-256 of their bytes.
        hashes: uint64 [N] perceptual hashes.
        has_hash: bool [N]; images that cannot be decoded have none.
        bits: In which hashes of leaked images may differ; None if bytes alone count.
    """

    places: Array
    digests: NDArray[np.uint64]
    hashes: NDArray[np.uint64]
    has_hash: NDArray[np.bool_]
    bits: int | None

    @classmethod
    def of(cls, images: pa.Table, places: Array, *, bits: int | None) -> Excluded:
        """Returns the images with the columns `COLUMNS`, at PLACE [N]."""
        hashes, has_hash = to_hashes(images["perceptual_hash"])
        digests = to_digests(images[BYTES_COLUMN])
        return cls(places, digests, hashes, has_hash, bits)

    def find(self, images: pa.Table) -> tuple[Array, Array]:
        """Returns the twin of each image as its index or -1, and its distance.

        Args:
            images: With the columns `COLUMNS`, [R] rows.
        """
        hashes, has_hash = to_hashes(images["perceptual_hash"])
        distinct, inverse = np.unique(hashes[has_hash], return_inverse=True)
        # The distance decides, then the order.
        per_bit = max(1, len(self.places))
        lowest = np.full(len(distinct), hamming_index.NONE)
        for table in self._tables:
            found = table.lowest(distinct, per_bit=per_bit)
            lowest = np.minimum(lowest, found)
        twins, distances = (np.full(len(hashes), -1) for _ in range(2))
        is_near = lowest != hamming_index.NONE
        twins[has_hash] = np.where(is_near, lowest % per_bit, -1)[inverse]
        distances[has_hash] = np.where(is_near, lowest // per_bit, -1)[inverse]
        same = self._find_bytes(to_digests(images[BYTES_COLUMN]))
        return np.where(same >= 0, same, twins), np.where(same >= 0, 0, distances)

    @functools.cached_property
    def _tables(self) -> list[hamming_index.Table]:
        if self.bits is None:
            return []
        with_hash = np.flatnonzero(self.has_hash)
        hashes, first = np.unique(self.hashes[with_hash], return_index=True)
        return [
            hamming_index.Table(hashes, with_hash[first], self.bits, number)
            for number in range(len(hamming_index.masks(self.bits)))
        ]

    @functools.cached_property
    def _by_bytes(self) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        order = np.argsort(self.digests[:, 0], kind="stable")
        return order, self.digests[order]

    def _find_bytes(self, digests: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Returns the first image with the same bytes, int64 [R]; -1 for none."""
        order, known = self._by_bytes
        twins = np.full(len(digests), -1)
        at = np.searchsorted(known[:, 0], digests[:, 0])
        open_ = np.arange(len(digests))
        while len(open_):  # Once, unless digests begin with the same 64 bits.
            open_ = open_[at[open_] < len(known)]
            open_ = open_[known[at[open_], 0] == digests[open_, 0]]
            is_same = (known[at[open_]] == digests[open_]).all(axis=1)
            twins[open_[is_same]] = order[at[open_[is_same]]]
            open_ = open_[~is_same]
            at[open_] += 1
        return twins


def find_leaked(
    images: pa.Table, excluded: Excluded, *, shard: int
) -> tuple[Array, Array]:
    """Returns which rows of a shard are leaked.

    Args:
        images: All rows of the shard, with `COLUMNS` and `confidence`.
        excluded: What they must not be like.
        shard: Its number.

    Returns:
        PAIR of one row for each twin and distance, and ALIKE for the others.
    """
    ok = np.flatnonzero(images["confidence"].is_valid().to_numpy())
    twins, distances = excluded.find(images.select(COLUMNS).take(ok))
    leaked = np.flatnonzero(twins >= 0)
    twins, distances = twins[leaked], distances[leaked]
    fate = twins * (hamming_index.MAX_BITS + 1) + distances
    _, first, inverse = np.unique(fate, return_index=True, return_inverse=True)
    pairs = np.zeros(len(first), PAIR)
    pairs["shard"] = shard
    pairs["row"] = ok[leaked[first]]
    pairs["distance"] = distances[first]
    for name in PLACE.names or ():
        pairs[name] = excluded.places[twins[first]][name]
    return pairs, share_fate(ok[leaked], first[inverse])
