"""Images of the corpus that leaked: they are in a set that is to be kept apart.

A row is leaked if an image of an excluded set has the same bytes or, unless only bytes
count, a perceptual hash at most `bits` bits away or, if wanted, an embedding of at
least a given cosine. Its match is an image with the same bytes, else the one with the
nearest hash, else with the nearest embedding; of several, the first by set, shard and
row.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pseudo_label.deduplication import hamming_index, similarity
from pseudo_label.deduplication.near_duplicates import (
    BYTES_COLUMN,
    MATCH,
    POSITION,
    Array,
    make_represented,
    to_digests,
    to_hashes,
)

#: Columns that finding leaks reads, of the corpus and of excluded sets.
COLUMNS = ("perceptual_hash", BYTES_COLUMN)


class ExcludedIndex:
    """An index of the N images of all excluded sets, ordered by set, shard and row."""

    def __init__(
        self,
        images: pa.Table,
        positions: Array,
        *,
        bits: int | None,
        lowest: float | None = None,
        halves: NDArray[np.float16] | None = None,
    ) -> None:
        """Indexes images by their bytes, hashes and embeddings.

        Args:
            images: The images, with the columns `COLUMNS`.
            positions: POSITION [N].
            bits: Highest number of bits in which the hashes of leaked images differ;
                None if only equal bytes count.
            lowest: Lowest cosine of leaked images; None if embeddings do not count.
            halves: float16 [N,D], embeddings, zeros for images without one; needed
                with `lowest`.
        """
        self.positions = positions
        self._lowest, self._halves = lowest, halves
        self._hashes = to_hashes(images["perceptual_hash"])[0]
        self._tables = _index_hashes(images["perceptual_hash"], bits)
        digests = _as_strings(to_digests(images[BYTES_COLUMN]))
        self._order = np.argsort(digests, kind="stable")
        self._digests = digests[self._order]

    def find(
        self, images: pa.Table, halves: NDArray[np.float16] | None = None
    ) -> tuple[Array, Array]:
        """Returns the index of each image's match, -1 for none, and its distance.

        `halves` [R,D] are the embeddings, needed if they count.
        """
        hashes, has_hash = to_hashes(images["perceptual_hash"])
        distinct, inverse = np.unique(hashes[has_hash], return_inverse=True)
        # The distance decides, then the index: values are per_bit * distance + index.
        per_bit = max(1, len(self.positions))
        lowest = np.full(len(distinct), hamming_index.NONE)
        for table in self._tables:
            lowest = np.minimum(lowest, table.lowest(distinct, per_bit=per_bit))
        nearest = np.full(len(hashes), hamming_index.NONE)
        nearest[has_hash] = lowest[inverse]
        is_near = nearest != hamming_index.NONE
        matches = np.where(is_near, nearest % per_bit, -1)
        distances = np.where(is_near, nearest // per_bit, -1)
        same = self._find_bytes(to_digests(images[BYTES_COLUMN]))
        matches = np.where(same >= 0, same, matches)
        distances = np.where(same >= 0, 0, distances)
        if self._lowest is not None and self._halves is not None and halves is not None:
            left = np.flatnonzero(matches < 0)
            found = similarity.find_nearest(halves[left], self._halves, self._lowest)
            left, found = left[found >= 0], found[found >= 0]
            matches[left] = found
            distances[left] = np.bitwise_count(hashes[left] ^ self._hashes[found])
        return matches, distances

    def _find_bytes(self, digests: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Returns the first image with the same bytes, int64 [R]; -1 for none."""
        wanted = _as_strings(digests)
        at = np.searchsorted(self._digests, wanted)
        within = np.flatnonzero(at < len(self._digests))
        same = within[self._digests[at[within]] == wanted[within]]
        matches = np.full(len(digests), -1)
        matches[same] = self._order[at[same]]
        return matches


def find_leaked(
    images: pa.Table,
    excluded: ExcludedIndex,
    *,
    shard: int,
    halves: NDArray[np.float16] | None = None,
) -> tuple[Array, Array]:
    """Returns the leaked rows of a shard: MATCH and REPRESENTED.

    One row represents all with the same match at the same distance. `images` are all
    rows of the shard, with the columns `COLUMNS` and `confidence`; `halves` [R,D] are
    the embeddings of those with a prediction, needed if they count.
    """
    ok = np.flatnonzero(images["confidence"].is_valid().to_numpy())
    found, distances = excluded.find(images.select(COLUMNS).take(ok), halves)
    leaked = np.flatnonzero(found >= 0)
    found, distances = found[leaked], distances[leaked]
    _, first, inverse = np.unique(
        np.stack([found, distances]), axis=1, return_index=True, return_inverse=True
    )
    matches = np.zeros(len(first), MATCH)
    matches["shard"] = shard
    matches["row"] = ok[leaked[first]]
    matches["distance"] = distances[first]
    for name in POSITION.names or ():
        matches[name] = excluded.positions[found[first]][name]
    return matches, make_represented(ok[leaked], first[inverse])


def _as_strings(digests: NDArray[np.uint64]) -> NDArray[np.bytes_]:
    """Returns digests uint64 [N,4] as strings of 32 bytes, which have an order."""
    return digests.view("S32")[:, 0]


def _index_hashes(
    column: pa.ChunkedArray, bits: int | None
) -> list[hamming_index.Table]:
    """Returns the tables that find the first image with each hash."""
    if bits is None:
        return []
    hashes, has_hash = to_hashes(column)
    with_hash = np.flatnonzero(has_hash)
    distinct, first = np.unique(hashes[with_hash], return_index=True)
    return [
        hamming_index.Table(distinct, with_hash[first], bits, number)
        for number in range(len(hamming_index.masks(bits)))
    ]
