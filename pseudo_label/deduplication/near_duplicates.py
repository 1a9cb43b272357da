"""Duplicates within the corpus, and the files of dropped rows.

A row that is not leaked (`leakage`) is a duplicate if a better row of the corpus, not
leaked either, has the same top class and the same look: a perceptual hash at most
`bits` bits away or, if wanted, an embedding of at least a given cosine. Better rows
come first in the order of confidence (highest first), key hash and key. The match of a
duplicate is the best such row, which may be a duplicate itself. So whether a row is
dropped depends neither on other duplicates, nor on the order of the work, nor on a
threshold.

The hash sees brightness only. Where the teacher sees another class, color or detail
tells the images apart, and both are worth learning from.

Rows travel between workers as structured arrays (`CANDIDATE`, `MATCH`, ...), whose
bytes are the same everywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from etils import epath
from numpy.typing import NDArray

from pseudo_label.deduplication import hamming_index, similarity
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.embeddings import EMBEDDING
from pseudo_label.predictions.schema import ReadKeys
from stage import parquet
from stage.grouping import split_by

DIRECTORY = "dropped"
LEAKED = "leaked"
DUPLICATE = "duplicate"
#: Columns of a prediction that `find_candidates` reads.
COLUMNS = ("label", "confidence", "key_hash", "perceptual_hash")
BYTES_COLUMN = "image_sha256"
#: A row that may be a duplicate.
CANDIDATE = np.dtype(
    [
        ("hash", "<u8"),
        ("key_hash", "<u8"),
        ("confidence", "<f4"),
        ("label", "<i4"),
        ("shard", "<i4"),
        ("row", "<i4"),
    ]
)
#: Position of a matching image. Set 0 is the corpus; the others are excluded sets.
POSITION = np.dtype(
    [("match_set", "<i4"), ("match_shard", "<i4"), ("match_row", "<i4")]
)
#: A row of the corpus to drop, and the position of its match.
MATCH = np.dtype(
    [("shard", "<i4"), ("row", "<i4"), ("distance", "<i4"), *POSITION.descr]
)
#: A `MATCH` with columns of the matching row; its key travels beside the array.
_DIGEST = ("digest", "<u8", (4,))
NAMED_MATCH = np.dtype(
    [*MATCH.descr, ("confidence", "<f4"), ("key_hash", "<u8"), _DIGEST]
)
#: A row that was not compared itself, but by a representative in the same shard. If
#: the representative is dropped, both have the same match; else it is the match.
REPRESENTED = np.dtype([("row", "<i4"), ("representative", "<i4")])

#: Multiplier of MurmurHash3's finalizer.
MULTIPLIER = np.uint64(0xFF51AFD7ED558CCD)
_ALL_BITS = np.uint64(2**64 - 1)

Array = NDArray[Any]
#: Number of dropped rows by reason and label.
DroppedCounts = Counter[tuple[str, int]]


def dropped_schema() -> pa.Schema:
    """Returns the columns of a file of dropped rows.

    record_index, key: position and key in the predictions file. reason: `leaked` or
    `duplicate`. same_bytes: whether the match has the same encoded bytes. distance:
    bits in which the perceptual hashes differ; 0 for a leak with the same bytes.
    twin_set: name of the match's excluded set, empty for the corpus. twin_shard,
    twin_row, twin_key: position and key of the match.
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


def dropped_path(directory: epath.PathLike, index: int) -> epath.Path:
    """Returns the path of a shard's dropped rows; the file exists if there are any."""
    return epath.Path(directory) / DIRECTORY / prediction_schema.shard_name(index)


def write_dropped(
    directory: epath.PathLike, index: int, rows: pa.Table, *, selection: str = ""
) -> None:
    """Writes the dropped rows of a shard; `selection` is `Selection.fingerprint`."""
    path = dropped_path(directory, index)
    path.parent.mkdir(parents=True, exist_ok=True)
    owner = _owner(selection, index)
    parquet.write_parquet_file(path, rows, owner=owner, compression="zstd")


def _owner(selection: str, index: int) -> str:
    return selection and f"{selection}/{index}"


def read_dropped_rows(
    directory: epath.PathLike,
    index: int,
    columns: Sequence[str],
    *,
    selection: str = "",
) -> pa.Table:
    """Returns columns of the dropped rows of an input shard, ascending by position.

    Raises ValueError if the file is broken, of another selection or shard, a column is
    missing or of another type, or positions do not ascend.
    """
    path = dropped_path(directory, index)
    none = dropped_schema().empty_table().select(columns)
    if not path.exists():
        return none
    rows = parquet.read_parquet_file(path, columns, owner=_owner(selection, index))
    if rows.schema.types != none.schema.types:
        raise ValueError(
            f"{path} is broken: expected columns of types {none.schema.types}, got "
            f"{rows.schema.types}"
        )
    if "record_index" in columns:
        positions = rows["record_index"].to_numpy()
        if (np.diff(positions, prepend=-1) <= 0).any():
            raise ValueError(f"{path} is broken: expected positions that ascend")
    return rows


def read_dropped(
    directory: epath.PathLike, index: int, *, selection: str = ""
) -> NDArray[np.int64]:
    """Returns the positions of the dropped rows of an input shard, int64, ascending."""
    rows = read_dropped_rows(directory, index, ["record_index"], selection=selection)
    return rows["record_index"].to_numpy()


def read_blocks(
    path: epath.Path,
    columns: Sequence[str],
    directory: epath.PathLike | None,
    index: int,
    *,
    selection: str = "",
) -> Iterator[tuple[int, pa.Table, NDArray[np.int64]]]:
    """Yields the predictions of an input shard in blocks, and which rows are dropped.

    Each block has the position of its first row, columns of its rows, and the indices
    of its dropped rows, ascending. `directory` holds the dropped rows; None if there
    are none.
    """
    dropped = np.empty(0, np.int64)
    if directory is not None:
        dropped = read_dropped(directory, index, selection=selection)
    first = 0
    for rows in prediction_schema.read_rows(path, columns):
        end = first + len(rows)
        here = dropped[slice(*np.searchsorted(dropped, [first, end]))]
        yield first, rows, here - first
        first = end
    if len(dropped) and dropped[-1] >= first:
        raise ValueError(
            f"{dropped_path(directory or '', index)}: expected positions below "
            f"{first:,}, got {dropped[-1]:,}"
        )


def find_candidates(images: pa.Table, leaked: Array, *, shard: int) -> Array:
    """Returns the rows of a shard, CANDIDATE, that may be duplicates of others.

    `images` are all rows of the shard, `leaked` the positions of the leaked ones.
    """
    hashes, is_candidate = to_hashes(images["perceptual_hash"])
    is_candidate &= images["confidence"].is_valid().to_numpy()
    is_candidate[leaked] = False
    rows = np.zeros(np.count_nonzero(is_candidate), CANDIDATE)
    rows["hash"] = hashes[is_candidate]
    rows["key_hash"] = images["key_hash"].to_numpy()[is_candidate]
    rows["confidence"] = images["confidence"].to_numpy()[is_candidate]
    rows["label"] = images["label"].fill_null(-1).to_numpy()[is_candidate]
    rows["shard"] = shard
    rows["row"] = np.flatnonzero(is_candidate)
    return rows


def best_of_hash(rows: Array, read_keys: ReadKeys) -> tuple[Array, Array]:
    """Returns the best row of each class and hash, CANDIDATE; others as REPRESENTED.

    `rows` are those of a shard. An image that occurs a million times, such as a blank
    one, leaves at most one row per shard and class to compare.
    """
    is_repeated = _are_repeated(class_keys(rows, _ALL_BITS))
    at = np.flatnonzero(is_repeated)
    at = at[_best_first(rows.take(at), read_keys)]
    order = np.lexsort((rows["label"][at], rows["hash"][at]))
    looks = rows[["hash", "label"]][at[order]]
    is_first = np.append(True, looks[1:] != looks[:-1])[: len(at)]
    representative = np.empty(len(at), np.int64)
    representative[order] = order[is_first][np.cumsum(is_first) - 1]
    is_best = ~is_repeated
    is_best[at[representative]] = True
    return rows.compress(is_best), make_represented(rows["row"][at], representative)


def class_keys(rows: Array, mask: np.uint64) -> NDArray[np.uint64]:
    """Returns a number for each row, equal where class and masked hash are equal.

    A few others are equal by chance.
    """
    return (rows["hash"] & mask) ^ (rows["label"].astype(np.uint64) * MULTIPLIER)


def match_duplicates(
    rows: Array, read_keys: ReadKeys, *, bits: int, table: int
) -> Array:
    """Returns the duplicates that one hash table finds among some rows, MATCH.

    Several tables may find the same row; its match is the best of theirs.

    Args:
        rows: CANDIDATE [N]: all rows of the corpus with some of the table's keys.
        read_keys: Reads the keys of rows that agree in confidence and key hash, if any.
        bits: Highest number of bits in which hashes of duplicates differ.
        table: Index of the table's mask.
    """
    # Nearly all rows have a hash of their own; only the others have to be sorted.
    keys = class_keys(rows, hamming_index.masks(bits)[table])
    rows = rows.compress(_are_repeated(keys))
    rows = rows.take(_best_first(rows, read_keys))
    matches = [
        _match_class(of_class, bits=bits, table=table)
        for _, of_class in split_by(rows, rows["label"])
    ]
    return np.concatenate([np.empty(0, MATCH), *matches])


def _match_class(rows: Array, *, bits: int, table: int) -> Array:
    """Returns the duplicates among rows of a class, the best first."""
    hashes, first, inverse = np.unique(
        rows["hash"], return_index=True, return_inverse=True
    )
    lowest = hamming_index.Table(hashes, first, bits, table).lowest(hashes)[inverse]
    dropped = np.flatnonzero(lowest < np.arange(len(rows)))
    return _make_matches(rows, dropped, lowest[dropped])


def embedded_type(size: int) -> np.dtype[Any]:
    """Returns the type of a `CANDIDATE` with its embedding of D features."""
    return np.dtype([*CANDIDATE.descr, (EMBEDDING, "<f2", (size,))])


def match_similar(rows: Array, read_keys: ReadKeys, *, lowest: float) -> Array:
    """Returns the duplicates among the rows of a class by their embeddings, MATCH.

    Args:
        rows: Records of `embedded_type` [N]: all rows of the class.
        read_keys: Reads the keys of rows that agree in confidence and key hash, if any.
        lowest: Lowest cosine of duplicates.
    """
    rows = rows.take(_best_first(rows, read_keys))
    found = similarity.find_earlier(rows[EMBEDDING], lowest)
    dropped = np.flatnonzero(found >= 0)
    return _make_matches(rows, dropped, found[dropped])


def _make_matches(rows: Array, dropped: Array, better: Array) -> Array:
    """Returns MATCH of the dropped rows and better ones, both given by index."""
    better = rows[better]
    matches = np.zeros(len(dropped), MATCH)
    for name in ("shard", "row"):
        matches[name] = rows[name][dropped]
        matches[f"match_{name}"] = better[name]
    matches["distance"] = np.bitwise_count(rows["hash"][dropped] ^ better["hash"])
    return matches


def resolve_matches(
    matches: Array,
    keys: Sequence[str],
    represented: Array,
    images: pa.Table,
    *,
    shard: int,
    set_names: Sequence[str],
) -> pa.Table:
    """Returns the dropped rows of a shard, with the schema `dropped_schema`.

    Args:
        matches: NAMED_MATCH, all matches of the shard's rows.
        keys: Keys of the matching rows.
        represented: REPRESENTED, all of the shard.
        images: All rows of the shard, with the columns `key` and `image_sha256`.
        shard: Index of the shard.
        set_names: Names of the sets, the corpus's first.
    """
    matches, match_keys = _add_represented(
        *_best_matches(matches, keys), represented, images, shard=shard
    )
    order = np.argsort(matches["row"])
    matches = matches[order]
    digests = to_digests(images[BYTES_COLUMN])[matches["row"]]
    columns = [
        matches["row"].astype(np.int64),
        images["key"].take(matches["row"]),
        np.where(matches["match_set"] > 0, LEAKED, DUPLICATE).tolist(),
        (digests == matches["digest"]).all(axis=1),
        matches["distance"],
        [set_names[number] for number in matches["match_set"]],
        matches["match_shard"],
        matches["match_row"].astype(np.int64),
        match_keys.take(order),
    ]
    return pa.table(columns, schema=dropped_schema())


def make_represented(rows: Array, representative: Array) -> Array:
    """Returns REPRESENTED for the rows of a shard that do not represent themselves.

    `representative` is the index among `rows` of each row's representative, [N].
    """
    others = np.flatnonzero(representative != np.arange(len(rows)))
    represented = np.zeros(len(others), REPRESENTED)
    represented["row"] = rows[others]
    represented["representative"] = rows[representative[others]]
    return represented


def to_hashes(
    column: pa.ChunkedArray,
) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Returns perceptual hashes, 0 for null, and which ones are not null."""
    return column.fill_null(0).to_numpy(), column.is_valid().to_numpy().copy()


def to_digests(column: pa.ChunkedArray) -> NDArray[np.uint64]:
    """Returns SHA-256 digests as uint64 [N,4], without a Python object for each."""
    array = pa.concat_arrays([pa.array([], pa.binary(32)), *column.chunks])
    buffer = array.buffers()[1]
    if not len(array) or buffer is None:
        return np.empty((0, 4), np.uint64)
    words = np.frombuffer(buffer, np.uint64).reshape(-1, 4)
    return words[array.offset : array.offset + len(array)]


def _best_first(rows: Array, read_keys: ReadKeys) -> Array:
    """Returns the order of rows, CANDIDATE, by confidence, key hash and key."""

    def keys_at(tied: Array) -> Sequence[str]:
        return read_keys(rows["shard"][tied], rows["row"][tied])

    return _order(rows, keys_at)


def _order(rows: Array, keys_at: Callable[[Array], Sequence[str]]) -> Array:
    """Returns the order of rows by confidence, highest first, key hash and key."""
    order = np.lexsort((rows["key_hash"], -rows["confidence"]))
    sort_keys = rows[["confidence", "key_hash"]][order]
    starts = np.append(True, sort_keys[1:] != sort_keys[:-1])[: len(rows)]
    is_tied = ~(starts & np.append(starts[1:], True)[: len(rows)])
    if is_tied.any():
        tied, group = order[is_tied], np.cumsum(starts)[is_tied]
        keys = [key.encode() for key in keys_at(tied)]
        ranked = sorted(range(len(tied)), key=lambda i: (group[i], keys[i]))
        order[is_tied] = tied[ranked]
    return order


def _are_repeated(values: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Returns which values occur more than once, bool [N]."""
    ascending = np.sort(values)
    repeated = np.unique(ascending[1:][ascending[1:] == ascending[:-1]])
    if not len(repeated):
        return np.zeros(len(values), bool)
    at = np.searchsorted(repeated, values)
    return repeated[np.minimum(at, len(repeated) - 1)] == values


def _best_matches(matches: Array, keys: Sequence[str]) -> tuple[Array, pa.Array]:
    """Returns the best match of each row, ascending by row, and its key."""
    order = _order(matches, lambda tied: [keys[index] for index in tied])
    _, first = np.unique(matches["row"][order], return_index=True)
    best = order[first]
    return matches[best], pa.array(keys, pa.string()).take(best)


def _add_represented(
    matches: Array, keys: pa.Array, represented: Array, images: pa.Table, *, shard: int
) -> tuple[Array, pa.Array]:
    """Returns matches and their keys, with those of represented rows appended."""
    rows, representatives = represented["row"], represented["representative"]
    at = np.searchsorted(matches["row"], representatives)
    is_dropped = np.append(matches["row"], -1)[at] == representatives
    at = at[is_dropped]
    same_match = matches[at]
    same_match["row"] = rows[is_dropped]
    kept = representatives[~is_dropped]
    kept_match = np.zeros(len(kept), NAMED_MATCH)
    kept_match["row"] = rows[~is_dropped]
    kept_match["match_shard"], kept_match["match_row"] = shard, kept
    kept_match["digest"] = to_digests(images[BYTES_COLUMN])[kept]
    kept_keys = images["key"].take(kept).combine_chunks()
    return (
        np.concatenate([matches, same_match, kept_match]),
        pa.concat_arrays([keys, keys.take(at), kept_keys]),
    )
