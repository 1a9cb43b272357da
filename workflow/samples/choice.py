"""Chooses the tiles of the contact sheets.

Each sheet shows the first images in a total order, so that the choice depends neither
on the division into blocks nor on their order. Random orders sort by a hash.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pseudo_label.deduplication import near_duplicates
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.selection import decision
from pseudo_label.selection.decision import Selection, count_copies
from stage.status import OK
from stage.validation import check_positive
from workflow.samples import tiles
from workflow.samples.tiles import SHEETS

#: Columns of the predictions that the choice needs.
COLUMNS = ("record_index", *decision.COLUMNS, "status", "error")
_TWIN = ("twin_set", "twin_shard", "twin_row", "twin_key")
#: Columns of the dropped rows that the choice needs.
DROPPED_COLUMNS = ("record_index", "reason", "same_bytes", "distance", *_TWIN)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """Settings of the contact sheets.

    Attributes:
        per_sheet: Largest number of tiles of a sheet.
        thumbnail_size: Longer side of a thumbnail in pixels.
        max_shards: Largest number of input shards that tiles are taken from.
        seed: Seed of the random choices.
    """

    per_sheet: int = 24
    thumbnail_size: int = 96
    max_shards: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("per_sheet", "thumbnail_size", "max_shards"):
            check_positive(name, getattr(self, name))


@dataclasses.dataclass(frozen=True)
class _Rule:
    """The rule by which a sheet's images are chosen.

    Attributes:
        order: Columns and their directions: a total order of the images.
        in_turns: Columns whose values take turns: the first image of each value comes
            before the second of any. The last column takes precedence.
    """

    order: tuple[tuple[str, str], ...]
    in_turns: tuple[str, ...] = ()


_UP, _DOWN = "ascending", "descending"
#: The order of the selection, and its reverse.
_BEST = (("confidence", _DOWN), ("key_hash", _UP), ("key", _UP))
_WORST = (("confidence", _UP), ("key_hash", _DOWN), ("key", _DOWN))
_RANDOM = (("turn", _UP), ("key", _UP))
_RULES = {
    "highest": _Rule(_BEST),
    "random": _Rule(_RANDOM),
    "above_cut": _Rule((("margin", _UP), *_WORST), in_turns=("label",)),
    "below_cut": _Rule((("margin", _UP), *_BEST), in_turns=("label",)),
    "most_copied": _Rule((("copies", _DOWN), *_BEST)),
    "undecodable": _Rule(_RANDOM, in_turns=("reason", "status")),
    "leaked": _Rule(_RANDOM, in_turns=("reason",)),
    "duplicate": _Rule(_RANDOM, in_turns=("reason",)),
}


def candidate_schema() -> pa.Schema:
    """Returns the columns of images that may become tiles.

    They are those of `tiles.schema` without position and thumbnails, those of the
    predictions, the location of the match (twin_set, twin_shard, twin_row), and

        margin: distance of the confidence from the cut-off of its class
        turn: hash that defines the random order
    """
    left_out = ("position", "thumbnail", "twin_thumbnail")
    return pa.schema(
        [
            *(field for field in tiles.schema() if field.name not in left_out),
            ("key_hash", pa.uint64()),
            ("status", pa.string()),
            ("margin", pa.float64()),
            ("turn", pa.uint64()),
            ("twin_set", pa.string()),
            ("twin_shard", pa.int32()),
            ("twin_row", pa.int64()),
        ]
    )


def seeded_hash(values: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """Returns a hash of each value, uint64; a bijection that depends on the seed.

    Uses the finalizer of SplitMix64 (Steele et al. 2014).
    """
    hashes = values ^ np.uint64(prediction_schema.hash_key(str(seed)))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        hashes = (hashes ^ (hashes >> np.uint64(shift))) * np.uint64(factor)
    return hashes ^ (hashes >> np.uint64(31))


def choose_shards(num_shards: int, config: SampleConfig) -> list[int]:
    """Returns a random choice of input shards, ascending."""
    hashes = seeded_hash(np.arange(num_shards, dtype=np.uint64), config.seed)
    return sorted(np.argsort(hashes)[: config.max_shards].tolist())


def find_candidates(
    rows: pa.Table,
    dropped: pa.Table,
    selection: Selection,
    *,
    shard: int,
    config: SampleConfig,
) -> pa.Table:
    """Returns the rows that may become tiles, with `candidate_schema`.

    `rows` are consecutive predictions of an input shard, with `COLUMNS`; `dropped` are
    the leaks and duplicates of the shard, with `DROPPED_COLUMNS`.
    """
    index = rows["record_index"].to_numpy()
    dropped = dropped.filter(pc.is_in(dropped["record_index"], pa.array(index)))
    positions = np.searchsorted(index, dropped["record_index"].to_numpy())
    images = _describe(rows, positions, selection, shard, config.seed)
    is_kept = images["copies"].to_numpy() > 0
    has_label = rows["label"].is_valid().to_numpy()
    is_rejected = has_label & ~is_kept
    is_rejected[positions] = False
    kept = images.filter(is_kept)
    by_sheet = {
        **dict.fromkeys(("highest", "random", "above_cut", "most_copied"), kept),
        "below_cut": images.filter(is_rejected),
        "undecodable": images.filter(~has_label),
        **_add_matches(images.take(positions), dropped),
    }
    return pa.concat_tables(
        _choose(sheet, images, config) for sheet, images in by_sheet.items()
    )


def choose(candidates: Iterable[pa.Table], config: SampleConfig) -> pa.Table:
    """Returns the tiles of each sheet, in order, from the candidates of all parts."""
    images = pa.concat_tables([candidate_schema().empty_table(), *candidates])
    return pa.concat_tables(
        _choose(sheet, images.filter(pc.field("sheet") == sheet), config)
        for sheet in SHEETS
    )


def _describe(
    rows: pa.Table,
    dropped: NDArray[np.int64],
    selection: Selection,
    shard: int,
    seed: int,
) -> pa.Table:
    """Returns rows with the columns of candidates, without sheets and matches."""
    names = ("key", "key_hash", "label", "confidence", "status")
    label = rows["label"].fill_null(0).to_numpy()
    confidence = rows["confidence"].fill_null(0.0).to_numpy()
    return pa.table(
        {
            **{name: rows[name] for name in names},
            "shard": np.full(len(rows), shard, np.int32),
            "row": rows["record_index"],
            "copies": count_copies(rows, selection, dropped).astype(np.int32),
            "reason": _reason(rows),
            "margin": np.abs(confidence - _cut_offs(selection)[label]),
            "turn": seeded_hash(rows["key_hash"].to_numpy(), seed),
        }
    )


def _cut_offs(selection: Selection) -> NDArray[np.float64]:
    """Returns the confidence that divides kept from rejected images, float64 [K].

    It is that of the last image kept if the quota rejects some, else the threshold.
    """
    return np.array(
        [
            rule.cut_off.confidence
            if rule.cut_off is not None and rule.confident > rule.unique
            else rule.threshold
            for rule in selection.classes
        ],
        np.float64,
    )


def _reason(rows: pa.Table) -> pa.ChunkedArray:
    """Returns status and error of rows without a prediction; else empty."""
    status, error = rows["status"], rows["error"]
    both = pc.binary_join_element_wise(status, error, ": ")
    words = pc.if_else(pc.equal(error, ""), status, both)
    return pc.if_else(pc.equal(status, OK), "", words)


def _add_matches(images: pa.Table, dropped: pa.Table) -> dict[str, pa.Table]:
    """Returns the dropped images by sheet, with their match and why it is one."""
    reason = _describe_match(dropped)
    images = images.drop_columns("reason").append_column("reason", reason)
    for name in _TWIN:
        images = images.append_column(name, dropped[name])
    return {
        sheet: images.filter(pc.equal(dropped["reason"], sheet))
        for sheet in (near_duplicates.LEAKED, near_duplicates.DUPLICATE)
    }


def _describe_match(dropped: pa.Table) -> pa.ChunkedArray:
    by_look = [f"looks the same but for {bits} of 64 bits" for bits in range(1, 65)]
    words = pa.array(["same bytes", "looks the same", *by_look])
    distance = 1 + dropped["distance"].to_numpy()
    found = words.take(pa.array(np.where(dropped["same_bytes"], 0, distance)))
    sets = dropped["twin_set"]
    with_set = pc.binary_join_element_wise(found, sets, ", in ")
    return pc.if_else(pc.equal(sets, ""), found, with_set)


def _choose(sheet: str, images: pa.Table, config: SampleConfig) -> pa.Table:
    """Returns the tiles of a sheet, in order, with `candidate_schema`."""
    rule = _RULES[sheet]
    order = pc.sort_indices(images, sort_keys=list(rule.order)).to_numpy()
    ranks = np.arange(len(order))
    for name in rule.in_turns:
        values = images[name].combine_chunks().dictionary_encode().indices.to_numpy()
        ranks = ranks[_take_turns(values[order[ranks]])]
    # Chosen in turns, shown in order.
    chosen = images.take(order[np.sort(ranks[: config.per_sheet])])
    if "sheet" not in chosen.column_names:
        chosen = chosen.append_column("sheet", pa.repeat(sheet, len(chosen)))
    # Missing columns become null.
    empty = candidate_schema().empty_table()
    return pa.concat_tables([empty, chosen], promote_options="default")


def _take_turns(values: NDArray[Any]) -> NDArray[np.int64]:
    """Returns the order in which the first of each value precede all second ones."""
    by_value = np.argsort(values, kind="stable")
    grouped = values[by_value]
    turns = np.empty(len(values), np.int64)
    turns[by_value] = np.arange(len(values)) - np.searchsorted(grouped, grouped)
    return np.argsort(turns, kind="stable")
