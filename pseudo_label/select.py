"""Which predictions become pseudo-labels, and how often: exactly the best of a class.

All predictions of a class stand in one total order: confidence, highest first, then
the key's hash, then the key. The best `images_per_class` above the threshold are
kept. A class with fewer is filled up with copies, as many of each image as of any
other, or one more for the first of them. So two places in the order per class say
everything, and any worker can decide about any row alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pseudo_label.prediction import OK

SCHEMA_VERSION = 1
#: What deciding needs of a prediction.
COLUMNS = ("status", "label", "confidence", "key_hash", "key")
_ORDER = [
    ("label", "ascending"),
    ("confidence", "descending"),
    ("key_hash", "ascending"),
    ("key", "ascending"),
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SelectionConfig:
    """What to keep.

    Attributes:
        confidence_threshold: Lowest confidence to keep, in [0, 1].
        images_per_class: Records each class shall have.
        max_copies: How often one image may be written to get there; 1 for once.
    """

    confidence_threshold: float
    images_per_class: int
    max_copies: int

    def __post_init__(self) -> None:
        if not 0.0 <= self.confidence_threshold <= 1.0:
            raise ValueError(
                "confidence_threshold must be in [0, 1], got "
                f"{self.confidence_threshold}"
            )
        for name in ("images_per_class", "max_copies"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be at least 1, got {getattr(self, name)}"
                )


@dataclasses.dataclass(frozen=True)
class Place:
    """A place in the total order of a class."""

    confidence: float
    key_hash: int
    key: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassRule:
    """The decision about one class.

    Attributes:
        name: The class.
        confident: Images at or above the threshold.
        unique: Images kept.
        records: Images kept, copies counted.
        cut_off: Place of the last image kept; None where none is.
        copies: How often each kept image is written.
        extra_cut_off: Place of the last image written once more; None where none is.
    """

    name: str
    confident: int
    unique: int
    records: int
    cut_off: Place | None
    copies: int
    extra_cut_off: Place | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Funnel:
    """Where the images went; each adds up to the next.

    `read = undecodable + below_threshold + beyond_quota + unique_kept`, and
    `records = unique_kept + copies`.
    """

    read: int
    undecodable: int
    below_threshold: int
    beyond_quota: int
    unique_kept: int
    copies: int
    records: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Selection:
    """The whole decision; `selection.json` holds just this.

    Attributes:
        settings: What was asked for.
        predictions: Fingerprint of the labeling run it is about.
        funnel: Where the images went.
        classes: One rule for each class, by label.
    """

    settings: SelectionConfig
    predictions: str
    funnel: Funnel
    classes: tuple[ClassRule, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns what `from_json` understands."""
        return {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Selection:
        """Returns the selection that `to_json` has written.

        Raises:
            ValueError: If it is of another version.
        """
        if content.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(
                f"expected a selection of schema version {SCHEMA_VERSION}, got "
                f"{content.get('schema_version')}"
            )
        return cls(
            settings=SelectionConfig(**content["settings"]),
            predictions=content["predictions"],
            funnel=Funnel(**content["funnel"]),
            classes=tuple(map(_rule_from_json, content["classes"])),
        )


@dataclasses.dataclass(frozen=True)
class Candidates:
    """The best predictions of some shards, and counts of all of them.

    Attributes:
        read: Rows seen.
        undecodable: Of them, rows without a prediction.
        confident: int64 [K] rows at or above the threshold.
        best: At most `images_per_class` rows of each class, in order.
    """

    read: int
    undecodable: int
    confident: NDArray[np.int64]
    best: pa.Table


def find_candidates(
    rows: pa.Table, config: SelectionConfig, *, num_classes: int
) -> Candidates:
    """Returns the candidates among some rows with the columns `COLUMNS`."""
    predicted = rows.filter(pc.equal(rows["status"], OK)).drop_columns(["status"])
    # As float32, like the confidences: 0.9 is not above 0.9.
    threshold = pa.scalar(config.confidence_threshold, pa.float32())
    confident = predicted.filter(pc.greater_equal(predicted["confidence"], threshold))
    counts = np.bincount(confident["label"].to_numpy(), minlength=num_classes)
    if len(counts) > num_classes:
        raise ValueError(f"label {len(counts) - 1} is outside 0..{num_classes - 1}")
    return Candidates(
        read=rows.num_rows,
        undecodable=rows.num_rows - predicted.num_rows,
        confident=counts.astype(np.int64),
        best=_best(confident, config.images_per_class),
    )


def merge_candidates(
    parts: Iterable[Candidates], config: SelectionConfig, *, num_classes: int
) -> Candidates:
    """Returns the candidates of all parts together; their order does not matter."""
    parts = list(parts)
    empty = np.zeros(num_classes, np.int64)
    return Candidates(
        read=sum(part.read for part in parts),
        undecodable=sum(part.undecodable for part in parts),
        confident=sum((part.confident for part in parts), empty),
        best=_best(
            pa.concat_tables([_no_candidates(), *(part.best for part in parts)]),
            config.images_per_class,
        ),
    )


def decide(
    candidates: Candidates,
    config: SelectionConfig,
    *,
    class_names: Iterable[str],
    predictions: str,
) -> Selection:
    """Returns the selection out of the candidates of all shards.

    Args:
        candidates: Of the whole corpus.
        config: What to keep.
        class_names: K names by label.
        predictions: Fingerprint of the labeling run.
    """
    labels = candidates.best["label"].to_numpy()
    rules = []
    for label, name in enumerate(class_names):
        start, end = np.searchsorted(labels, [label, label + 1])
        rules.append(
            _decide_class(
                name,
                int(candidates.confident[label]),
                candidates.best.slice(start, end - start),
                config,
            )
        )
    confident = sum(rule.confident for rule in rules)
    unique = sum(rule.unique for rule in rules)
    records = sum(rule.records for rule in rules)
    funnel = Funnel(
        read=candidates.read,
        undecodable=candidates.undecodable,
        below_threshold=candidates.read - candidates.undecodable - confident,
        beyond_quota=confident - unique,
        unique_kept=unique,
        copies=records - unique,
        records=records,
    )
    return Selection(
        settings=config, predictions=predictions, funnel=funnel, classes=tuple(rules)
    )


def count_copies(rows: pa.Table, selection: Selection) -> NDArray[np.int64]:
    """Returns how often each row is to be written, int64 [rows]; 0 for not at all.

    Args:
        rows: Any rows of the predictions that the selection is about, with the
            columns `COLUMNS`.
        selection: The decision.
    """
    copies = np.zeros(rows.num_rows, np.int64)
    labels = rows["label"].fill_null(-1).to_numpy()
    for label in np.unique(labels[labels >= 0]):
        rule = selection.classes[label]
        if rule.cut_off is None:
            continue
        members = np.flatnonzero(labels == label)
        of_class = rows.take(members)
        kept = _reaches(of_class, rule.cut_off)
        copies[members[kept]] = rule.copies
        if rule.extra_cut_off is not None:
            copies[members[_reaches(of_class, rule.extra_cut_off)]] += 1
    return copies


def _best(rows: pa.Table, most: int) -> pa.Table:
    """Returns the first `most` rows of each class, in order."""
    rows = rows.take(pc.sort_indices(rows, sort_keys=_ORDER)).combine_chunks()
    labels = rows["label"].to_numpy()
    rank = np.arange(len(labels)) - np.searchsorted(labels, labels)
    return rows.filter(pa.array(rank < most))


def _no_candidates() -> pa.Table:
    return pa.schema(
        [
            ("label", pa.int32()),
            ("confidence", pa.float32()),
            ("key_hash", pa.uint64()),
            ("key", pa.string()),
        ]
    ).empty_table()


def _decide_class(
    name: str, confident: int, best: pa.Table, config: SelectionConfig
) -> ClassRule:
    unique = best.num_rows
    if unique == 0:
        return ClassRule(
            name=name,
            confident=confident,
            unique=0,
            records=0,
            cut_off=None,
            copies=0,
            extra_cut_off=None,
        )
    records = min(config.images_per_class, unique * config.max_copies)
    copies, extra = divmod(records, unique)
    return ClassRule(
        name=name,
        confident=confident,
        unique=unique,
        records=records,
        cut_off=_place(best, unique - 1),
        copies=copies,
        extra_cut_off=_place(best, extra - 1) if extra else None,
    )


def _place(rows: pa.Table, index: int) -> Place:
    row = rows.slice(index, 1).to_pylist()[0]
    return Place(row["confidence"], row["key_hash"], row["key"])


def _reaches(rows: pa.Table, place: Place) -> NDArray[np.bool_]:
    """Returns which rows stand at the place or before it, bool [rows]."""
    confidence = rows["confidence"].to_numpy()
    key_hash = rows["key_hash"].to_numpy()
    # float32 to float64 and back loses nothing, nor does JSON on the way.
    same = confidence == np.float32(place.confidence)
    before = (confidence > np.float32(place.confidence)) | (
        same & (key_hash < np.uint64(place.key_hash))
    )
    tied = np.flatnonzero(same & (key_hash == np.uint64(place.key_hash)))
    if len(tied):
        keys = rows["key"].take(tied).to_pylist()
        before[tied] = [key.encode() <= place.key.encode() for key in keys]
    reached: NDArray[np.bool_] = before
    return reached


def _rule_from_json(content: dict[str, Any]) -> ClassRule:
    places = {
        name: Place(**content[name]) if content[name] is not None else None
        for name in ("cut_off", "extra_cut_off")
    }
    return ClassRule(**{**content, **places})
