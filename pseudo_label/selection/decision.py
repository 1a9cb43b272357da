"""The selection: one rule per class, and what every worker decides about a row."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pseudo_label.deduplication import hamming_index
from pseudo_label.predictions.prediction_set import PredictionSet
from pseudo_label.selection.order_statistics import Place
from pseudo_label.selection.precision import Precision
from pseudo_label.selection.thresholds import ThresholdConfig
from stage import artifact

SCHEMA_VERSION = 2
#: What deciding about a row needs of its prediction.
COLUMNS = ("label", "confidence", "key_hash", "key")
#: The fields of `ClassRule` that are places.
_PLACES = ("cut_off", "extra_cut_off")


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
class PrecisionEstimate:
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
    estimate: PrecisionEstimate | None = None
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


def _estimate_from_json(content: dict[str, Any] | None) -> PrecisionEstimate | None:
    if content is None:
        return None
    return PrecisionEstimate(
        kind=content["kind"],
        above_threshold=Precision(**content["above_threshold"]),
        kept=Precision(**content["kept"]),
    )


SELECTION = "selection.json"


def open_selection(directory: str, predictions: PredictionSet) -> Selection:
    """Returns the selection that was made of some predictions.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is not complete, or of other predictions.
    """
    path = artifact.require_complete(directory, "selection")
    if not (path / SELECTION).exists():
        raise ValueError(f"{directory} holds no selection")
    selection = Selection.from_json(artifact.read_json(path / SELECTION))
    if selection.predictions != predictions.fingerprint:
        raise ValueError(
            f"{directory} was selected from other predictions: expected "
            f"{predictions.fingerprint[:12]}, got {selection.predictions[:12]}"
        )
    return selection
