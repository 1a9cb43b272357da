"""Images for people to look at: `samples.parquet`, a row for each tile of the sheets.

Each sheet shows the first of its images in an order that is total, so the choice is
the same however the predictions are cut into blocks and in whatever order those come:
the best of the best of the parts are the best of the whole. The orders that are meant
to be random are those of a hash.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from etils import epath
from numpy.typing import NDArray

from pseudo_label.deduplication import near_duplicates
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.selection import decision
from pseudo_label.selection.decision import Selection, count_copies
from stage import parquet
from stage.status import OK

FILE = "samples.parquet"
VERSION = 1
#: What choosing needs of a prediction.
COLUMNS = ("record_index", *decision.COLUMNS, "status", "error")
#: And of a row that was dropped.
DROPPED_COLUMNS = (
    *("record_index", "reason", "same_bytes", "distance"),
    *("twin_set", "twin_shard", "twin_row", "twin_key"),
)
_TWIN = ("twin_set", "twin_shard", "twin_row", "twin_key")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """What to draw.

    Attributes:
        per_sheet: Tiles of a sheet, at most.
        thumbnail_size: Pixels of a thumbnail's longer side, at most.
        max_shards: Input shards that the tiles are taken from, at most.
        seed: Of what is random.
    """

    per_sheet: int = 24
    thumbnail_size: int = 96
    max_shards: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("per_sheet", "thumbnail_size", "max_shards"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be at least 1, got {getattr(self, name)}"
                )


@dataclasses.dataclass(frozen=True)
class _Rule:
    """How the images of a sheet are chosen.

    Attributes:
        order: Columns and their directions, together different for any two images.
        in_turns: Columns whose values take turns, the last one's before all: the first
            image of each value comes before the second of any.
    """

    order: tuple[tuple[str, str], ...]
    in_turns: tuple[str, ...] = ()


_UP, _DOWN = "ascending", "descending"
#: As `select` has it.
_BEST = (("confidence", _DOWN), ("key_hash", _UP), ("key", _UP))
_LAST = (("confidence", _UP), ("key_hash", _DOWN), ("key", _DOWN))
_RANDOM = (("turn", _UP), ("key", _UP))
_RULES = {
    "highest": _Rule(_BEST),
    "random": _Rule(_RANDOM),
    "above_cut": _Rule((("margin", _UP), *_LAST), in_turns=("label",)),
    "below_cut": _Rule((("margin", _UP), *_BEST), in_turns=("label",)),
    "most_copied": _Rule((("copies", _DOWN), *_BEST)),
    "undecodable": _Rule(_RANDOM, in_turns=("reason", "status")),
    "leaked": _Rule(_RANDOM, in_turns=("reason",)),
    "duplicate": _Rule(_RANDOM, in_turns=("reason",)),
}
#: In the order of the file.
SHEETS = tuple(_RULES)


def schema() -> pa.Schema:
    """Returns the columns of a file of samples; `Sample` explains them."""
    return pa.schema(
        [
            ("sheet", pa.string()),
            ("position", pa.int32()),
            ("key", pa.string()),
            ("shard", pa.int32()),
            ("row", pa.int64()),
            ("label", pa.int32()),
            ("confidence", pa.float32()),
            ("copies", pa.int32()),
            ("reason", pa.string()),
            ("thumbnail", pa.binary()),
            ("twin_key", pa.string()),
            ("twin_thumbnail", pa.binary()),
        ]
    )


def candidate_schema() -> pa.Schema:
    """Returns the columns of images that may become tiles.

    Those of the file but for thumbnails; what the orders look at: key_hash; status;
    margin: how far the confidence is from the class's cut; turn: the image's place
    where chance decides. And the twin's place, as in `duplicates.dropped_schema`.
    """
    return pa.schema(
        [
            ("sheet", pa.string()),
            ("shard", pa.int32()),
            ("row", pa.int64()),
            ("key", pa.string()),
            ("key_hash", pa.uint64()),
            ("label", pa.int32()),
            ("confidence", pa.float32()),
            ("copies", pa.int32()),
            ("status", pa.string()),
            ("reason", pa.string()),
            ("margin", pa.float64()),
            ("turn", pa.uint64()),
            ("twin_set", pa.string()),
            ("twin_shard", pa.int32()),
            ("twin_row", pa.int64()),
            ("twin_key", pa.string()),
        ]
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """A tile of a sheet.

    Attributes:
        sheet: One of `SHEETS`.
        position: On it, from 0 on.
        key: Unique name of the image; data, no path.
        shard: Input shard that it is in.
        row: Its position there.
        label: The top class; None where nothing was predicted.
        confidence: Of that, in [0, 1]; None likewise.
        copies: Records written of it; 0 where it is not kept.
        reason: Why nothing was predicted: the status and the error's words; of what
            leaked or is there twice how it was found; then, if it was not to be had,
            why there is no thumbnail. Else empty.
        thumbnail: A JPEG or PNG; None where the image cannot be decoded.
        twin_key: Of what leaked or is there twice, the image that it is a twin of.
        twin_thumbnail: Of that, where it is to be had.
    """

    sheet: str
    position: int
    key: str
    shard: int
    row: int
    label: int | None
    confidence: float | None
    copies: int
    reason: str
    thumbnail: bytes | None
    twin_key: str | None
    twin_thumbnail: bytes | None


def write_samples(file: BinaryIO, samples: Iterable[Sample]) -> None:
    """Writes the tiles of all sheets."""
    rows = [vars(sample) for sample in samples]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema()), file)


def read_samples(directory: epath.PathLike) -> list[Sample]:
    """Returns the tiles, by sheet in the order of `SHEETS`, then by position.

    Raises:
        FileNotFoundError: If there are none.
        ValueError: If they cannot be read.
    """
    path = epath.Path(directory) / FILE
    content = path.read_bytes()
    try:
        table = parquet.read_parquet(pa.BufferReader(content), schema().names)
    except pa.ArrowException as error:
        words = " ".join(str(error).split())
        raise ValueError(f"{path} is broken: {words}") from error
    return [Sample(**row) for row in table.to_pylist()]


def mix(values: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """Returns 64 bits for each value, other ones for another seed, none of them twice.

    The last steps of SplitMix64 (Steele et al. 2014).
    """
    mixed = values ^ np.uint64(prediction_schema.hash_key(str(seed)))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def choose_shards(num_shards: int, config: SampleConfig) -> list[int]:
    """Returns the input shards to take tiles from, ascending, chosen by a hash."""
    turns = mix(np.arange(num_shards, dtype=np.uint64), config.seed)
    return sorted(np.argsort(turns)[: config.max_shards].tolist())


def find_candidates(
    rows: pa.Table,
    dropped: pa.Table,
    selection: Selection,
    *,
    shard: int,
    config: SampleConfig,
) -> pa.Table:
    """Returns which of some predictions may become tiles, with `candidate_schema`.

    Args:
        rows: Some of an input shard, in order, with `COLUMNS`.
        dropped: What leaks or is a duplicate in it, with `DROPPED_COLUMNS`.
        selection: The decision about all.
        shard: The input shard.
        config: What to draw.
    """
    index = rows["record_index"].to_numpy()
    is_among = np.isin(dropped["record_index"].to_numpy(), index)
    dropped = dropped.filter(pa.array(is_among))
    at = np.searchsorted(index, dropped["record_index"].to_numpy())
    images = _describe(rows, at, selection, shard, config.seed)
    is_kept = images["copies"].to_numpy() > 0
    has_label = rows["label"].is_valid().to_numpy()
    is_below = has_label & ~is_kept
    is_below[at] = False
    kept = images.filter(pa.array(is_kept))
    below = images.filter(pa.array(is_below))
    of_sheet = {
        **dict.fromkeys(("highest", "random", "above_cut", "most_copied"), kept),
        "below_cut": below,
        "undecodable": images.filter(pa.array(~has_label)),
        **_name_twins(images.take(at), dropped),
    }
    return pa.concat_tables(
        _choose(sheet, images, config) for sheet, images in of_sheet.items()
    )


def choose(candidates: Iterable[pa.Table], config: SampleConfig) -> pa.Table:
    """Returns the tiles of each sheet, in order, out of the candidates of all parts."""
    images = pa.concat_tables([candidate_schema().empty_table(), *candidates])
    return pa.concat_tables(
        _choose(sheet, images.filter(pc.equal(images["sheet"], sheet)), config)
        for sheet in SHEETS
    )


def _describe(
    rows: pa.Table,
    dropped: NDArray[np.int64],
    selection: Selection,
    shard: int,
    seed: int,
) -> pa.Table:
    """Returns rows with the columns of candidates, but for sheets and twins."""
    names = ("key", "key_hash", "label", "confidence", "status")
    label = rows["label"].fill_null(0).to_numpy()
    confidence = rows["confidence"].fill_null(0.0).to_numpy()
    columns: dict[str, Any] = {
        **{name: rows[name] for name in names},
        "shard": np.full(len(rows), shard, np.int32),
        "row": rows["record_index"],
        "copies": count_copies(rows, selection, dropped).astype(np.int32),
        "reason": _why_unpredicted(rows),
        "margin": np.abs(confidence - _cuts(selection)[label]),
        "turn": mix(rows["key_hash"].to_numpy(), seed),
    }
    return pa.table(columns)


def _cuts(selection: Selection) -> NDArray[np.float64]:
    """Returns the confidence that divides each class, float64 [K].

    That of the last image kept, where the quota leaves some out; else the threshold.
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


def _why_unpredicted(rows: pa.Table) -> pa.ChunkedArray:
    status, error = rows["status"], rows["error"]
    words = pc.if_else(
        pc.equal(error, ""),
        status,
        pc.binary_join_element_wise(status, error, ": "),
    )
    return pc.if_else(pc.equal(status, OK), "", words)


def _name_twins(images: pa.Table, dropped: pa.Table) -> dict[str, pa.Table]:
    """Returns what was dropped, with how it was found and its twin, by sheet."""
    images = images.drop_columns("reason")
    images = images.append_column("reason", _how_found(dropped))
    for name in _TWIN:
        images = images.append_column(name, dropped[name])
    return {
        sheet: images.filter(pc.equal(dropped["reason"], sheet))
        for sheet in (near_duplicates.LEAKED, near_duplicates.DUPLICATE)
    }


def _how_found(dropped: pa.Table) -> pa.ChunkedArray:
    by_look = [f"looks the same but for {bits} of 64 bits" for bits in range(1, 65)]
    words = pa.array(["same bytes", "looks the same", *by_look])
    same_bytes = dropped["same_bytes"].to_numpy()
    found = words.take(
        pa.array(np.where(same_bytes, 0, 1 + dropped["distance"].to_numpy()))
    )
    sets = dropped["twin_set"]
    with_set = pc.binary_join_element_wise(found, sets, ", in ")
    return pc.if_else(pc.equal(sets, ""), found, with_set)


def _choose(sheet: str, images: pa.Table, config: SampleConfig) -> pa.Table:
    """Returns the tiles of a sheet, in order, with `candidate_schema`."""
    rule = _RULES[sheet]
    order = pc.sort_indices(images, sort_keys=list(rule.order)).to_numpy()
    places = np.arange(len(order))
    for name in rule.in_turns:
        values = images[name].combine_chunks().dictionary_encode().indices.to_numpy()
        places = places[_take_turns(values[order[places]])]
    # Chosen in turns, shown in order.
    chosen = images.take(pa.array(order[np.sort(places[: config.per_sheet])]))
    if "sheet" not in chosen.column_names:
        chosen = chosen.append_column("sheet", pa.repeat(sheet, len(chosen)))
    columns = [
        chosen[field.name]
        if field.name in chosen.column_names
        else pa.nulls(len(chosen), field.type)
        for field in candidate_schema()
    ]
    return pa.table(columns, schema=candidate_schema())


def _take_turns(values: NDArray[Any]) -> NDArray[np.int64]:
    """Returns the order in which the first of each value comes before the seconds."""
    by_value = np.argsort(values, kind="stable")
    grouped = values[by_value]
    turns = np.empty(len(values), np.int64)
    turns[by_value] = np.arange(len(values)) - np.searchsorted(grouped, grouped)
    return np.argsort(turns, kind="stable")
