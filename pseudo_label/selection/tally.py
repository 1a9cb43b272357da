"""Which predictions become pseudo-labels, and how often: exactly the best of a class.

All predictions of a class stand in one total order: confidence, highest first, then
the key's hash, then the key. The best `images_per_class` at or above the class's
threshold are kept. A class with fewer is filled up with copies, as many of each image
as of any other, or one more for the first of them. So two places in the order per
class say everything, and any worker can decide about any row alone. How the places
are found is in `ranking`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pseudo_label.deduplication import hamming_index
from pseudo_label.selection.order_statistics import Bins, Place, Rows
from pseudo_label.selection.precision import Precision
from pseudo_label.selection.thresholds import ThresholdConfig

SCHEMA_VERSION = 2
#: What deciding about a row needs of its prediction.
COLUMNS = ("label", "confidence", "key_hash", "key")
#: Share of the images that would fill a class, with copies, below which it is named.
NEARLY_EMPTY = 0.1
#: The fields of `ClassRule` that are places.
_PLACES = ("cut_off", "extra_cut_off")
_NO_LEVELS = np.empty(0, np.float32)
_NO_LOCK = contextlib.nullcontext()


@dataclasses.dataclass(frozen=True, kw_only=True)
class SelectionConfig:
    """What to keep.

    Attributes:
        thresholds: Which confidence is enough.
        images_per_class: Records each class shall have.
        max_copies: How often one image may be written to get there; 1 for once.
        duplicate_bits: Of the 64 of the perceptual hash, in how many two images may
            differ to be taken for the same; None where looks do not count.
    """

    thresholds: ThresholdConfig
    images_per_class: int
    max_copies: int
    duplicate_bits: int | None = None

    def __post_init__(self) -> None:
        for name in ("images_per_class", "max_copies"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be at least 1, got {getattr(self, name)}"
                )
        if self.duplicate_bits is not None:
            hamming_index.check_bits(self.duplicate_bits)

    @property
    def fills_a_class(self) -> int:
        """Images that fill a class, each copied as often as may be."""
        return -(-self.images_per_class // self.max_copies)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> SelectionConfig:
        """Returns what `dataclasses.asdict` has made JSON of."""
        thresholds = dict(content["thresholds"])
        thresholds["values"] = tuple(thresholds["values"])
        return cls(**{**content, "thresholds": ThresholdConfig(**thresholds)})


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassRule:
    """The decision about one class.

    Attributes:
        name: The class.
        threshold: Lowest confidence that may be kept.
        confident: Images at or above the threshold, none of them dropped.
        unique: Images kept.
        records: Images kept, copies counted.
        cut_off: Place of the last image kept; None where none is.
        copies: How often each kept image is written.
        extra_cut_off: Place of the last image written once more; None where none is.
    """

    name: str
    threshold: float
    confident: int
    unique: int
    records: int
    cut_off: Place | None
    copies: int
    extra_cut_off: Place | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dropped:
    """Images that no threshold may keep, counted.

    Attributes:
        leaked: Found among the images to judge by, or among the labeled ones.
        duplicate: Look the same as a better one.
    """

    leaked: int = 0
    duplicate: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Funnel:
    """Where the images went; each adds up to the next.

    `read = undecodable + leaked + duplicate + below_threshold + beyond_quota +
    unique_kept`, and `records = unique_kept + copies`.
    """

    read: int
    undecodable: int
    leaked: int
    duplicate: int
    below_threshold: int
    beyond_quota: int
    unique_kept: int
    copies: int
    records: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Alarm:
    """A class that is empty or nearly so.

    Attributes:
        name: The class.
        predicted: Images that have it as their top class, at any confidence.
        kept: Of them.
        fills: Images that would fill it.
        filling_threshold: The highest threshold, to about 1 % of what it is below 1,
            at which it would be filled; None where no threshold does.
    """

    name: str
    predicted: int
    kept: int
    fills: int
    filling_threshold: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """How precise the labels are, judged by labeled images.

    Attributes:
        kind: `held_out` or `out_of_fold`.
        above_threshold: Of all images at or above their class's threshold.
        kept: Of those that the quotas leave.
    """

    kind: str
    above_threshold: Precision
    kept: Precision


@dataclasses.dataclass(frozen=True, kw_only=True)
class Selection:
    """The whole decision but for the dropped images; `selection.json` holds just this.

    Attributes:
        settings: What was asked for.
        predictions: Fingerprint of the labeling run it is about.
        funnel: Where the images went.
        estimate: How precise the labels are; None where nothing tells.
        alarms: Classes that are empty or nearly so.
        classes: One rule for each class, by label.
    """

    settings: SelectionConfig
    predictions: str
    funnel: Funnel
    estimate: Estimate | None = None
    alarms: tuple[Alarm, ...] = ()
    classes: tuple[ClassRule, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns what `from_json` understands."""
        content = dataclasses.asdict(dataclasses.replace(self, classes=()))
        return {
            "schema_version": SCHEMA_VERSION,
            **content,
            "classes": list(map(_rule_to_json, self.classes)),
        }

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
            settings=SelectionConfig.from_json(content["settings"]),
            predictions=content["predictions"],
            funnel=Funnel(**content["funnel"]),
            estimate=_estimate_from_json(content["estimate"]),
            alarms=tuple(Alarm(**alarm) for alarm in content["alarms"]),
            classes=tuple(map(_rule_from_json, content["classes"])),
        )

    @functools.cached_property
    def cuts(self) -> tuple[_Cuts, _Cuts]:
        """Returns the cut-offs and the extra cut-offs of all classes as arrays."""
        copies = [rule.copies for rule in self.classes]
        return (
            _Cuts.of([rule.cut_off for rule in self.classes], copies),
            _Cuts.of([rule.extra_cut_off for rule in self.classes], [1] * len(copies)),
        )


@dataclasses.dataclass
class Tally:
    """Counts of predictions; those of parts add up.

    Behind the K classes comes another one, of rows that cannot be selected.

    Attributes:
        bins: What is counted into, of K + 1 classes with thresholds `with_nothing`.
        levels: float32 [L] confidences, ascending.
        read: Rows seen.
        undecodable: Of them, rows without a prediction.
        histogram: int64 [K + 1, bins.count] of the confidence of all.
        reached: int64 [K + 1, L + 1] of all by how many of the levels they reach.
    """

    bins: Bins
    levels: NDArray[np.float32]
    read: int
    undecodable: int
    histogram: NDArray[np.int64]
    reached: NDArray[np.int64]

    @classmethod
    def zero(
        cls,
        thresholds: NDArray[np.float32],
        levels: NDArray[np.float32] = _NO_LEVELS,
    ) -> Tally:
        """Returns the counts of nothing."""
        bins = Bins(thresholds)
        return cls(
            bins=bins,
            levels=levels,
            read=0,
            undecodable=0,
            histogram=np.zeros((len(thresholds), bins.count), np.int64),
            reached=np.zeros((len(thresholds), len(levels) + 1), np.int64),
        )

    @property
    def confident(self) -> NDArray[np.int64]:
        """Returns how many reach the threshold of their class, int64 [K + 1]."""
        is_confident = np.arange(self.bins.count) < self.bins.confident[:, None]
        return self.histogram.sum(axis=1, where=is_confident)

    def count(
        self,
        rows: Rows,
        unpredicted: int = 0,
        lock: AbstractContextManager[Any] = _NO_LOCK,
    ) -> None:
        """Counts rows.

        Args:
            rows: Of one shard; their hashes are not looked at. Those that cannot be
                selected have the label K.
            unpredicted: How many of them have no prediction.
            lock: Held only while counts change, where threads count into the same.
        """
        cells = self.bins.cells(rows.label, rows.confidence)
        reached = self._reached_cells(rows)
        with lock:
            self.read += len(rows.label)
            self.undecodable += unpredicted
            np.add.at(self.histogram.reshape(-1), cells, 1)
            np.add.at(self.reached.reshape(-1), reached, 1)

    def __add__(self, other: Tally) -> Tally:
        return dataclasses.replace(
            self,
            read=self.read + other.read,
            undecodable=self.undecodable + other.undecodable,
            histogram=self.histogram + other.histogram,
            reached=self.reached + other.reached,
        )

    def _reached_cells(self, rows: Rows) -> NDArray[np.int64]:
        if not len(self.levels):
            return np.empty(0, np.int64)
        reached = np.searchsorted(self.levels, rows.confidence, side="right")
        return np.multiply(rows.label, len(self.levels) + 1, dtype=np.int64) + reached


def with_nothing(thresholds: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns thresholds float32 [K + 1]: none reaches that of what is not selected."""
    return np.append(thresholds, np.float32(np.inf)).astype(np.float32)


def count_unique(
    confident: NDArray[np.int64], config: SelectionConfig
) -> NDArray[np.int64]:
    """Returns how many images of each class are kept, int64 [K]."""
    unique: NDArray[np.int64] = np.minimum(confident, config.images_per_class)
    return unique


def count_records(
    unique: NDArray[np.int64], config: SelectionConfig
) -> NDArray[np.int64]:
    """Returns how many records they make, copies counted, int64 [K]."""
    records: NDArray[np.int64] = np.minimum(
        unique * config.max_copies, config.images_per_class
    )
    return records


def wanted_ranks(
    confident: NDArray[np.int64], config: SelectionConfig
) -> NDArray[np.int64]:
    """Returns the ranks that decide, int64 [K, ranking.NUM_RANKS].

    They count from 1; 0 is none.
    The first is that of the last image kept, the second that of the last one which is
    written once more than the others.
    """
    unique = count_unique(confident, config)
    extra = count_records(unique, config) % np.maximum(unique, 1)
    return np.stack([unique, extra], axis=1)


def make_rules(
    tally: Tally,
    places: Sequence[Sequence[Place | None]],
    config: SelectionConfig,
    *,
    class_names: Sequence[str],
    thresholds: NDArray[np.float32],
) -> tuple[ClassRule, ...]:
    """Returns the rule of each class.

    Args:
        tally: Of the whole corpus.
        places: Of the ranks of `wanted_ranks`, [K][ranking.NUM_RANKS].
        config: What to keep.
        class_names: K names by label.
        thresholds: float32 [K].
    """
    confident = tally.confident
    unique = count_unique(confident, config)
    records = count_records(unique, config)
    return tuple(
        ClassRule(
            name=name,
            threshold=float(thresholds[label]),
            confident=int(confident[label]),
            unique=int(unique[label]),
            records=int(records[label]),
            cut_off=places[label][0],
            copies=int(records[label] // max(1, unique[label])),
            extra_cut_off=places[label][1],
        )
        for label, name in enumerate(class_names)
    )


def make_funnel(tally: Tally, dropped: Dropped, rules: Iterable[ClassRule]) -> Funnel:
    """Returns where the images went."""
    rules = tuple(rules)
    confident = sum(rule.confident for rule in rules)
    unique = sum(rule.unique for rule in rules)
    records = sum(rule.records for rule in rules)
    lost = tally.undecodable + dropped.leaked + dropped.duplicate
    return Funnel(
        read=tally.read,
        undecodable=tally.undecodable,
        leaked=dropped.leaked,
        duplicate=dropped.duplicate,
        below_threshold=tally.read - lost - confident,
        beyond_quota=confident - unique,
        unique_kept=unique,
        copies=records - unique,
        records=records,
    )


def find_alarms(
    tally: Tally, rules: Sequence[ClassRule], config: SelectionConfig
) -> tuple[Alarm, ...]:
    """Returns the classes that have less than a tenth of what would fill them."""
    fills = config.fills_a_class
    alarms = []
    for label, rule in enumerate(rules):
        if rule.unique > 0 and rule.unique >= NEARLY_EMPTY * fills:
            continue
        total = np.cumsum(tally.histogram[label])
        filling = None
        if total[-1] >= fills:
            reached = np.searchsorted(total, [fills])
            filling = float(tally.bins.lowest_confidence(np.array([label]), reached)[0])
        alarms.append(
            Alarm(
                name=rule.name,
                predicted=int(total[-1]),
                kept=rule.unique,
                fills=fills,
                filling_threshold=filling,
            )
        )
    return tuple(alarms)


def count_copies(
    rows: pa.Table,
    selection: Selection,
    dropped: Sequence[int] | NDArray[np.int64] = (),
) -> NDArray[np.int64]:
    """Returns how often each row is to be written, int64 [rows]; 0 for not at all.

    Args:
        rows: Of the predictions that the selection is about, with the columns
            `COLUMNS`.
        selection: The decision.
        dropped: Positions among the rows of those that leak or are duplicates.
    """
    copies = np.zeros(rows.num_rows, np.int64)
    labels = rows["label"].fill_null(-1).to_numpy()
    is_candidate = labels >= 0
    is_candidate[np.asarray(dropped, np.int64)] = False
    members = np.flatnonzero(is_candidate)
    for cuts in selection.cuts:
        copies[members] += cuts.count(rows, members, labels[members])
    return copies


@dataclasses.dataclass(frozen=True)
class _Cuts:
    """One place for each class, as arrays, and what reaching it is worth."""

    confidence: NDArray[np.float32]
    key_hash: NDArray[np.uint64]
    keys: tuple[str | None, ...]
    worth: NDArray[np.int64]

    @classmethod
    def of(cls, places: Sequence[Place | None], worth: Sequence[int]) -> _Cuts:
        # What no confidence reaches.
        nowhere = Place(float("inf"), 0)
        known = [place or nowhere for place in places]
        return cls(
            # float32 to float64 and back loses nothing, nor does JSON on the way.
            np.array([place.confidence for place in known], np.float32),
            np.array([place.key_hash for place in known], np.uint64),
            tuple(place.key for place in known),
            np.array(worth, np.int64),
        )

    def count(
        self, rows: pa.Table, members: NDArray[np.int64], labels: NDArray[np.int32]
    ) -> NDArray[np.int64]:
        """Returns the worth, int64 [members], of what reaches its place, else 0."""
        confidence = rows["confidence"].to_numpy()[members]
        key_hash = rows["key_hash"].to_numpy()[members]
        is_same = confidence == self.confidence[labels]
        is_before = (confidence > self.confidence[labels]) | (
            is_same & (key_hash < self.key_hash[labels])
        )
        tied = np.flatnonzero(is_same & (key_hash == self.key_hash[labels]))
        for row in tied:
            last = self.keys[labels[row]]
            key = rows["key"][int(members[row])].as_py() if last is not None else ""
            is_before[row] = last is None or key.encode() <= last.encode()
        return np.where(is_before, self.worth[labels], 0)


def _rule_to_json(rule: ClassRule) -> dict[str, Any]:
    # As `dataclasses.asdict`, which takes several times as long for many classes.
    content = dict(vars(rule))
    for name in _PLACES:
        if content[name] is not None:
            content[name] = dict(vars(content[name]))
    return content


def _rule_from_json(content: dict[str, Any]) -> ClassRule:
    places = {
        name: Place(**content[name]) if content[name] is not None else None
        for name in _PLACES
    }
    return ClassRule(**{**content, **places})


def _estimate_from_json(content: dict[str, Any] | None) -> Estimate | None:
    if content is None:
        return None
    return Estimate(
        kind=content["kind"],
        above_threshold=Precision(**content["above_threshold"]),
        kept=Precision(**content["kept"]),
    )
