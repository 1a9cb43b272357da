"""Images that the corpus holds more than once, and the files of what is dropped.

A row that is not leaked (`leakage`) is a *duplicate* if a better one that is not
leaked, anywhere in the corpus, is at most `bits` bits away: better in the order of
confidence, highest first, then the key's hash, then the key. Its twin is the best of
those, which may be a duplicate itself: whether a row is dropped depends on no other row
being dropped, and so neither on the order of the work nor on a threshold.

Rows travel as arrays of records (`ROW`, `PAIR` and so on), whose bytes are what they
are wherever they are sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath
from numpy.typing import NDArray

from pseudo_label.deduplication import hamming_index
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.schema import ReadKeys

DIRECTORY = "dropped"
LEAKED = "leaked"
DUPLICATE = "duplicate"
#: What finding duplicates needs of a prediction.
COLUMNS = ("confidence", "key_hash", "perceptual_hash")
BYTES_COLUMN = "image_sha256"
#: A row that may be a duplicate.
ROW = np.dtype(
    [
        ("hash", "<u8"),
        ("key_hash", "<u8"),
        ("confidence", "<f4"),
        ("shard", "<i4"),
        ("row", "<i4"),
    ]
)
#: Where an image is: in set 0, which is the corpus, or an excluded one.
_PLACE = [("twin_set", "<i4"), ("twin_shard", "<i4"), ("twin_row", "<i4")]
PLACE = np.dtype(_PLACE)
#: A row that is dropped, and because of which.
_PAIR = [("shard", "<i4"), ("row", "<i4"), ("distance", "<i4"), *_PLACE]
PAIR = np.dtype(_PAIR)
#: Likewise, with what the twin's row says; its key travels beside it.
_DIGEST = ("digest", "<u8", (4,))
NAMED_PAIR = np.dtype([*_PAIR, ("confidence", "<f4"), ("key_hash", "<u8"), _DIGEST])
#: A row that looks like another one of its shard, and shares its fate: it is dropped
#: because of the same twin, or because of the other one itself if that stays.
ALIKE = np.dtype([("row", "<i4"), ("like", "<i4")])

Array = NDArray[Any]


def schema() -> pa.Schema:
    """Returns the columns of a file of dropped rows.

    record_index, key: the row's in its predictions file. reason: `leaked` or
    `duplicate`. same_bytes: whether the twin is the same file. distance: bits in which
    the perceptual hashes differ; 0 for a leak with the same bytes. twin_set: name of
    the excluded set, empty for the corpus itself. twin_shard, twin_row, twin_key: its
    place and its key there.
    """
    return pa.schema(
        [
            ("record_index", pa.int64()),
            ("key", pa.string()),
            ("reason", pa.string()),
            ("same_bytes", pa.bool_()),
            ("distance", pa.int32()),
            ("twin_set", pa.string()),
            ("twin_shard", pa.int32()),
            ("twin_row", pa.int64()),
            ("twin_key", pa.string()),
        ]
    )


def path(directory: epath.PathLike, index: int) -> epath.Path:
    """Returns where the dropped rows of an input shard are; no file if none is."""
    return epath.Path(directory) / DIRECTORY / prediction_schema.shard_name(index)


def write_dropped(file: BinaryIO, rows: pa.Table) -> None:
    """Writes the dropped rows of a shard."""
    pq.write_table(rows, file, compression="zstd")


def read_dropped(directory: epath.PathLike, index: int) -> NDArray[np.int64]:
    """Returns which rows of an input shard were dropped, int64, ascending.

    Args:
        directory: In which there is a directory `dropped`.
        index: Of the input shard.
    """
    file = path(directory, index)
    if not file.exists():
        return np.empty(0, np.int64)
    columns = ["record_index"]
    rows = pa.concat_tables(prediction_schema.read_rows(file, columns))
    return rows["record_index"].to_numpy()


def candidates(images: pa.Table, leaked: Array, *, shard: int) -> Array:
    """Returns the rows of a shard, ROW, that may be duplicates of others.

    Args:
        images: All rows of the shard, with `COLUMNS`.
        leaked: Which of them are leaked.
        shard: Its number.
    """
    hashes, may_be = to_hashes(images["perceptual_hash"])
    may_be &= images["confidence"].is_valid().to_numpy()
    may_be[leaked] = False
    rows = np.zeros(np.count_nonzero(may_be), ROW)
    rows["hash"] = hashes[may_be]
    rows["key_hash"] = images["key_hash"].to_numpy()[may_be]
    rows["confidence"] = images["confidence"].to_numpy()[may_be]
    rows["shard"] = shard
    rows["row"] = np.flatnonzero(may_be)
    return rows


def best_of_hash(rows: Array, read_keys: ReadKeys) -> tuple[Array, Array]:
    """Returns the best row for each hash of a shard, ROW, and ALIKE for the others.

    So what is seen a million times, as blank images are, makes as many rows to compare
    as there are shards.
    """
    is_repeated = _are_repeated(rows["hash"])
    at = np.flatnonzero(is_repeated)
    at = at[_best_first(rows.take(at), read_keys)]
    _, first, inverse = np.unique(
        rows["hash"][at], return_index=True, return_inverse=True
    )
    is_best = ~is_repeated
    is_best[at[first]] = True
    return rows.compress(is_best), share_fate(rows["row"][at], first[inverse])


def find_duplicates(
    rows: Array, read_keys: ReadKeys, *, bits: int, table: int
) -> Array:
    """Returns the duplicates that one table finds among some rows, PAIR.

    A row may come out of several tables. Its twin is the best of those twins.

    Args:
        rows: ROW [N]: of all rows, those that agree on some bits of the table's mask.
        read_keys: Called for rows that only their keys can tell apart, if any.
        bits: In which hashes of duplicates may differ.
        table: Number of the table.
    """
    # Next to all rows are alone with their hash; only the others need an order.
    is_repeated = _are_repeated(rows["hash"] & hamming_index.masks(bits)[table])
    rows = rows.compress(is_repeated)
    rows = rows.take(_best_first(rows, read_keys))
    hashes, first, inverse = np.unique(
        rows["hash"], return_index=True, return_inverse=True
    )
    lowest = hamming_index.Table(hashes, first, bits, table).lowest(hashes)[inverse]
    dropped = np.flatnonzero(lowest < np.arange(len(rows)))
    twins = rows[lowest[dropped]]
    pairs = np.zeros(len(dropped), PAIR)
    for name in ("shard", "row"):
        pairs[name] = rows[name][dropped]
        pairs[f"twin_{name}"] = twins[name]
    pairs["distance"] = hamming_index.distances(rows["hash"][dropped], twins["hash"])
    return pairs


def resolve_chains(
    pairs: Array,
    keys: Sequence[str],
    alike: Array,
    images: pa.Table,
    *,
    shard: int,
    set_names: Sequence[str],
) -> pa.Table:
    """Returns the dropped rows of a shard, with the schema `schema`.

    Args:
        pairs: NAMED_PAIR, all there are for the shard.
        keys: Of their twins.
        alike: ALIKE likewise.
        images: All rows of the shard, with the columns `key` and `image_sha256`.
        shard: Its number.
        set_names: Of the sets by number, the corpus's first.
    """
    pairs, keys_of_twins = _with_alike(
        *_best_twins(pairs, keys), alike, images, shard=shard
    )
    order = np.argsort(pairs["row"])
    pairs = pairs[order]
    digests = to_digests(images[BYTES_COLUMN])[pairs["row"]]
    columns = [
        pairs["row"].astype(np.int64),
        images["key"].take(pairs["row"]),
        np.where(pairs["twin_set"] > 0, LEAKED, DUPLICATE).tolist(),
        (digests == pairs["digest"]).all(axis=1),
        pairs["distance"],
        [set_names[number] for number in pairs["twin_set"]],
        pairs["twin_shard"],
        pairs["twin_row"].astype(np.int64),
        keys_of_twins[order].tolist(),
    ]
    return pa.table(columns, schema=schema())


def share_fate(rows: Array, like: Array) -> Array:
    """Returns ALIKE for the rows whose like is another one.

    Args:
        rows: [N] of one shard.
        like: [N] position of the row that each one is like, or its own.
    """
    others = np.flatnonzero(like != np.arange(len(rows)))
    alike = np.zeros(len(others), ALIKE)
    alike["row"], alike["like"] = rows[others], rows[like[others]]
    return alike


def split(rows: Array, by: Array) -> Iterator[tuple[int, Array]]:
    """Yields each number in `by`, ascending, and its rows in order."""
    order = np.argsort(by, kind="stable")
    numbers, starts = np.unique(by[order], return_index=True)
    # Of records, NumPy takes rows 15 times as fast as it indexes them.
    parts = np.split(rows.take(order), starts[1:])
    yield from zip(numbers.tolist(), parts, strict=False)


def to_hashes(
    column: pa.ChunkedArray,
) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Returns perceptual hashes, 0 where there is none, and where there is one."""
    return column.fill_null(0).to_numpy(), column.is_valid().to_numpy().copy()


def to_digests(column: pa.ChunkedArray) -> NDArray[np.uint64]:
    """Returns SHA-256s as uint64 [N,4], without a Python object for each."""
    array = pa.concat_arrays([pa.array([], pa.binary(32)), *column.chunks])
    buffer = array.buffers()[1]
    if not len(array) or buffer is None:
        return np.empty((0, 4), np.uint64)
    words = np.frombuffer(buffer, np.uint64).reshape(-1, 4)
    return words[array.offset : array.offset + len(array)]


def _best_first(rows: Array, read_keys: ReadKeys) -> Array:
    """Returns the order of rows, ROW, that decides which one is kept."""

    def keys_at(tied: Array) -> Sequence[str]:
        return read_keys(rows["shard"][tied], rows["row"][tied])

    return _order(rows, keys_at)


def _order(rows: Array, keys_at: Callable[[Array], Sequence[str]]) -> Array:
    """Returns the order of confidence, then the key's hash, then the key."""
    order = np.lexsort((rows["key_hash"], -rows["confidence"]))
    marks = rows[["confidence", "key_hash"]][order]
    starts = np.append(True, marks[1:] != marks[:-1])[: len(rows)]
    is_tied = ~(starts & np.append(starts[1:], True)[: len(rows)])
    if is_tied.any():
        tied, group = order[is_tied], np.cumsum(starts)[is_tied]
        keys = [key.encode() for key in keys_at(tied)]
        ranked = sorted(range(len(tied)), key=lambda i: (group[i], keys[i]))
        order[is_tied] = tied[ranked]
    return order


def _are_repeated(values: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Returns which values, bool [N], are there more than once."""
    ascending = np.sort(values)
    repeated = np.unique(ascending[1:][ascending[1:] == ascending[:-1]])
    if not len(repeated):
        return np.zeros(len(values), bool)
    at = np.searchsorted(repeated, values)
    return repeated[np.minimum(at, len(repeated) - 1)] == values


def _best_twins(pairs: Array, keys: Sequence[str]) -> tuple[Array, Array]:
    """Returns the pair with the best twin of each row, by row, and its key."""
    order = _order(pairs, lambda tied: [keys[index] for index in tied])
    _, first = np.unique(pairs["row"][order], return_index=True)
    best = order[first]
    return pairs[best], _objects([keys[index] for index in best])


def _with_alike(
    pairs: Array, keys: Array, alike: Array, images: pa.Table, *, shard: int
) -> tuple[Array, Array]:
    """Returns pairs and keys of their twins, with those of ALIKE behind them."""
    at, is_dropped = _find(pairs["row"], alike["like"])
    at = at[is_dropped]
    same_twin = pairs[at]
    same_twin["row"] = alike["row"][is_dropped]
    kept = alike["like"][~is_dropped]
    kept_twin = np.zeros(len(kept), NAMED_PAIR)
    kept_twin["row"] = alike["row"][~is_dropped]
    kept_twin["twin_shard"], kept_twin["twin_row"] = shard, kept
    kept_twin["digest"] = to_digests(images[BYTES_COLUMN])[kept]
    kept_keys = _objects(images["key"].take(kept).to_pylist())
    return (
        np.concatenate([pairs, same_twin, kept_twin]),
        np.concatenate([keys, keys[at], kept_keys]),
    )


def _find(ascending: Array, wanted: Array) -> tuple[Array, Array]:
    """Returns where each wanted number would stand, and whether it is there."""
    at = np.searchsorted(ascending, wanted)
    is_there = np.append(ascending, -1)[at] == wanted
    return at, is_there


def _objects(values: Sequence[str]) -> Array:
    """Returns strings as an array, which can be picked from by indices."""
    array = np.empty(len(values), object)
    array[:] = values
    return array
