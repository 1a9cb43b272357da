"""The selection: one rule per class, and the decision about any row that follows.

`selection.json` holds a `Selection`. A rule's cut-offs are order statistics of its
class, so a worker decides about a row without seeing any other.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from etils import epath
from numpy.typing import NDArray

from pseudo_label.deduplication import hamming_index, similarity
from pseudo_label.predictions.prediction_set import PredictionSet
from pseudo_label.selection.order_statistics import OrderStatistic
from pseudo_label.selection.precision import Precision
from pseudo_label.selection.thresholds import ThresholdConfig
from stage import artifact, typed_json
from stage.text import printable
from stage.typed_json import ClassName, Count, Share
from stage.validation import check, check_positive

SELECTION = "selection.json"
SCHEMA_VERSION = 2
#: Columns of a prediction that `count_copies` reads.
COLUMNS = ("label", "confidence", "key_hash", "key")
#: Fields of `ClassRule` that are order statistics.
_CUT_OFFS = ("cut_off", "extra_cut_off")
#: Key of `Selection.sparse_classes` in the file.
_SPARSE_CLASSES = "alarms"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SelectionConfig:
    """Settings of a selection.

    Attributes:
        thresholds: Lowest confidence that is kept, by class.
        images_per_class: Records wanted of each class, at least 1.
        max_copies: Highest number of records of one image, at least 1.
        duplicate_bits: Highest number of bits, of 64, in which the perceptual hashes
            of duplicates differ; None if only equal bytes count.
        duplicate_similarity: Lowest cosine of the embeddings of duplicates; None if
            embeddings do not count.
    """

    thresholds: ThresholdConfig
    images_per_class: Count
    max_copies: Count
    duplicate_bits: Count | None = None
    duplicate_similarity: Share | None = None

    def __post_init__(self) -> None:
        check_positive("images_per_class", self.images_per_class)
        check_positive("max_copies", self.max_copies)
        if self.duplicate_bits is not None:
            hamming_index.check_bits(self.duplicate_bits)
        if self.duplicate_similarity is not None:
            similarity.check_similarity(self.duplicate_similarity)

    def to_json(self) -> dict[str, Any]:
        """Returns all settings; without embeddings, those of earlier versions."""
        settings = dataclasses.asdict(self)
        if self.duplicate_similarity is None:
            del settings["duplicate_similarity"]
        return settings

    @property
    def images_to_fill_class(self) -> int:
        """Images that fill a class with `max_copies` of each."""
        return -(-self.images_per_class // self.max_copies)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassRule:
    """The decision about one class.

    Attributes:
        name: Name of the class.
        threshold: Lowest confidence that may be kept.
        confident: Images at or above the threshold, dropped ones not counted.
        unique: Images kept.
        records: Records written, copies included.
        cut_off: Sort key of the last image kept; None if none is.
        copies: Records of each kept image.
        extra_cut_off: Sort key of the last image with one more record; None if none.
    """

    name: ClassName
    threshold: Share
    confident: Count
    unique: Count
    records: Count
    cut_off: OrderStatistic | None
    copies: Count
    extra_cut_off: OrderStatistic | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Funnel:
    """Number of images lost at each step of the selection.

    `read = undecodable + leaked + duplicate + below_threshold + beyond_quota +
    unique_kept`, and `records = unique_kept + copies`.

    Attributes:
        read: Rows of the predictions.
        undecodable: Rows whose status is not `ok`.
        leaked: Images of an excluded set.
        duplicate: Images that look the same as a better one of their class.
        below_threshold: Other images below the threshold of their class.
        beyond_quota: Images above it, after `images_per_class` of their class.
        unique_kept: Images kept.
        copies: Additional records of kept images.
        records: Records to write.
    """

    read: Count
    undecodable: Count
    leaked: Count
    duplicate: Count
    below_threshold: Count
    beyond_quota: Count
    unique_kept: Count
    copies: Count
    records: Count

    def by_title(self) -> dict[str, int]:
        """Returns the counts by the names that messages use."""
        return {funnel_title(name): count for name, count in vars(self).items()}


def funnel_title(name: str) -> str:
    """Returns the title of one of the funnel's counts."""
    words = {"undecodable": "no prediction", "beyond_quota": "over quota"}
    return words.get(name, name.replace("_", " "))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SparseClass:
    """A class with no image or very few.

    Attributes:
        name: Name of the class.
        predicted: Images with this top class, at any confidence.
        dropped: Those of them that leaked or are duplicates.
        kept: Images kept.
        fills: Images that would fill the class.
        filling_threshold: Highest threshold that would fill the class, rounded down
            to the end of its bin (`HistogramBins`); None if none would.
    """

    name: ClassName
    predicted: Count
    dropped: Count = 0
    kept: Count
    fills: Count
    filling_threshold: Share | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrecisionEstimate:
    """Precision of the pseudo-labels, estimated on labeled images.

    Attributes:
        kind: `held_out` or `out_of_fold`.
        above_threshold: Precision of all images at or above their class's threshold.
        kept: Precision of the images within the quotas.
    """

    kind: str
    above_threshold: Precision
    kept: Precision


@dataclasses.dataclass(frozen=True, kw_only=True)
class Selection:
    """The whole decision except for the list of dropped images.

    Attributes:
        settings: Settings of the selection.
        predictions: Fingerprint of the labeling run.
        funnel: Number of images lost at each step.
        estimate: Estimated precision; None without labeled images.
        sparse_classes: Classes with no image or very few.
        classes: One rule for each class, by label.
        fingerprint: Fingerprint of the `config.json` beside it, which the files of
            dropped images repeat; empty if made by an earlier version.
    """

    settings: SelectionConfig
    predictions: str
    funnel: Funnel
    estimate: PrecisionEstimate | None = None
    sparse_classes: tuple[SparseClass, ...] = ()
    classes: tuple[ClassRule, ...]
    fingerprint: str = ""

    def to_json(self) -> dict[str, Any]:
        """Returns the content of `selection.json`."""
        return {
            "schema_version": SCHEMA_VERSION,
            "settings": self.settings.to_json(),
            "predictions": self.predictions,
            "funnel": dataclasses.asdict(self.funnel),
            "estimate": self.estimate and dataclasses.asdict(self.estimate),
            _SPARSE_CLASSES: tuple(map(dataclasses.asdict, self.sparse_classes)),
            "classes": list(map(_rule_to_json, self.classes)),
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def from_json(cls, content: bytes, name: str) -> Selection:
        """Returns the selection in a file; `name` is what messages call the file.

        Raises:
            ValueError: If it is broken, or its schema version is another one.
        """
        version = typed_json.parse(content, _Versioned, name).schema_version
        if version != SCHEMA_VERSION:
            raise ValueError(
                f"{name}: expected a selection of schema version {SCHEMA_VERSION}, got "
                f"{version}"
            )
        found = typed_json.parse(content, _SelectionFile, name, only_known=True)
        values, classes = len(found.settings.thresholds.values), len(found.classes)
        check(
            values in (1, classes),
            f"{name}: settings.thresholds.values: expected one, or one for each of "
            f"{classes} classes, got {values}",
        )
        return cls(
            settings=found.settings,
            predictions=found.predictions,
            funnel=found.funnel,
            estimate=found.estimate,
            sparse_classes=found.alarms,
            classes=found.classes,
            fingerprint=found.fingerprint,
        )

    @property
    def class_names(self) -> list[str]:
        """Names of the classes by label."""
        return [rule.name for rule in self.classes]

    @property
    def thresholds(self) -> NDArray[np.float32]:
        """Threshold of each class, float32 [K]."""
        return np.array([rule.threshold for rule in self.classes], np.float32)

    @property
    def lowest_kept(self) -> NDArray[np.float32]:
        """Lowest confidence kept of each class, float32 [K]; infinite if none is."""
        return self.cut_offs[0].confidence

    @functools.cached_property
    def cut_offs(self) -> tuple[_CutOffs, _CutOffs]:
        """Cut-offs and extra cut-offs of all classes as arrays."""
        copies = [rule.copies for rule in self.classes]
        extra = [1] * len(copies)
        return (
            _CutOffs([rule.cut_off for rule in self.classes], copies),
            _CutOffs([rule.extra_cut_off for rule in self.classes], extra),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Versioned:
    """The part of `selection.json` that all versions have."""

    schema_version: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _SelectionFile:
    """The keys of `selection.json`; `alarms` are the sparse classes."""

    schema_version: Literal[2]
    settings: SelectionConfig
    predictions: str
    funnel: Funnel
    estimate: PrecisionEstimate | None
    alarms: tuple[SparseClass, ...]
    classes: tuple[ClassRule, ...]
    fingerprint: str = ""


def read_selection(directory: epath.PathLike) -> Selection:
    """Returns the selection in a directory, complete or not.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is broken, or of another version.
    """
    path = epath.Path(directory) / SELECTION
    return Selection.from_json(typed_json.read_bytes(path), str(path))


def open_selection(directory: str, predictions: PredictionSet) -> Selection:
    """Returns the selection that was made of some predictions.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is not complete, was made of other predictions, or its files
            are of several selections.
    """
    path = artifact.require_complete(directory, "selection")
    if not (path / SELECTION).exists():
        raise ValueError(f"{directory} holds no selection: no {SELECTION} in it")
    selection = read_selection(path)
    if selection.predictions != predictions.fingerprint:
        raise ValueError(
            f"{directory} was selected from other predictions: expected "
            f"{predictions.fingerprint[:12]}, got "
            f"{printable(selection.predictions[:12])}; select the labels again"
        )
    config = artifact.config_fingerprint(artifact.read_config(path))
    check(
        selection.fingerprint in ("", config),
        f"{path / SELECTION} is of another selection than {artifact.CONFIG} beside it; "
        "select the labels again",
    )
    check_class_names(path / SELECTION, selection, predictions.class_names)
    _check_counts(path / SELECTION, selection, predictions.num_images)
    return selection


def check_class_names(
    path: epath.Path, selection: Selection, expected: Sequence[str]
) -> None:
    """Raises ValueError unless a selection has the classes of its predictions."""
    names = selection.class_names
    if names != list(expected):
        raise ValueError(
            f"{path}: expected the {len(expected)} classes of the predictions, got "
            f"{len(names)}, not all the same"
        )


def _check_counts(path: epath.Path, selection: Selection, num_images: int) -> None:
    """Raises ValueError unless the counts are those of a selection of so many images.

    They tell how much there is to write.
    """
    for label, rule in enumerate(selection.classes):
        most = rule.unique * selection.settings.max_copies
        fitting = rule.unique <= rule.records <= most
        if not fitting or rule.copies != rule.records // max(1, rule.unique):
            raise ValueError(
                f"{path}: classes[{label}]: expected up to "
                f"{selection.settings.max_copies} copies of {rule.unique} images, got "
                f"{rule.records} records, copies={rule.copies}"
            )
    funnel = selection.funnel
    unique = sum(rule.unique for rule in selection.classes)
    records = sum(rule.records for rule in selection.classes)
    check(
        unique <= num_images,
        f"{path}: classes: expected at most {num_images} images, got {unique}",
    )
    for name, got, expected in (
        ("read", funnel.read, num_images),
        ("unique_kept", funnel.unique_kept, unique),
        ("records", funnel.records, records),
    ):
        if got != expected:
            raise ValueError(f"{path}: funnel.{name}: expected {expected}, got {got}")


def count_copies(
    rows: pa.Table,
    selection: Selection,
    dropped: Sequence[int] | NDArray[np.int64] = (),
) -> NDArray[np.int64]:
    """Returns the number of records of each row, int64 [rows]; 0 if it is not kept.

    `dropped` are the positions of the dropped rows among `rows`. Raises ValueError if
    a label or a position is too high.
    """
    copies = np.zeros(rows.num_rows, np.int64)
    labels = rows["label"].fill_null(-1).to_numpy()
    dropped = np.asarray(dropped, np.int64)
    for what, values, end in (
        ("a label", labels, len(selection.classes)),
        ("a dropped row", dropped, rows.num_rows),
    ):
        if values.max(initial=-1) >= end:
            raise ValueError(f"expected {what} below {end:,}, got {values.max():,}")
    is_candidate = labels >= 0
    is_candidate[dropped] = False
    members = np.flatnonzero(is_candidate)
    for cut_offs in selection.cut_offs:
        copies[members] += cut_offs.count(rows, members, labels[members])
    return copies


class _CutOffs:
    """One cut-off for each class, as arrays, and the records of a row within it."""

    def __init__(
        self, statistics: Sequence[OrderStatistic | None], records: Sequence[int]
    ) -> None:
        unreachable = OrderStatistic(float("inf"), 0)
        known = [statistic or unreachable for statistic in statistics]
        # Lossless: float32 to float64, through JSON, and back.
        self.confidence = np.array([cut.confidence for cut in known], np.float32)
        self.key_hash = np.array([cut.key_hash for cut in known], np.uint64)
        self.keys = [cut.key for cut in known]
        self.records = np.array(records, np.int64)

    def count(
        self, rows: pa.Table, members: NDArray[np.int64], labels: NDArray[np.int32]
    ) -> NDArray[np.int64]:
        """Returns the records, int64 [members], of rows within the cut-off, else 0."""
        confidence = rows["confidence"].to_numpy()[members]
        key_hash = rows["key_hash"].to_numpy()[members]
        is_same = confidence == self.confidence[labels]
        is_within = (confidence > self.confidence[labels]) | (
            is_same & (key_hash <= self.key_hash[labels])
        )
        for row in np.flatnonzero(is_same & (key_hash == self.key_hash[labels])):
            last = self.keys[labels[row]]
            if last is not None:
                key = rows["key"][int(members[row])].as_py()
                is_within[row] = key.encode() <= last.encode()
        return np.where(is_within, self.records[labels], 0)


def _rule_to_json(rule: ClassRule) -> dict[str, Any]:
    # The same as `dataclasses.asdict`, several times as fast for many classes.
    content = dict(vars(rule))
    for name in _CUT_OFFS:
        content[name] = content[name] and dict(vars(content[name]))
    return content
