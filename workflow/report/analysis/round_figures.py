"""The figures of one round, each `Missing` if the run does not have its files.

Names of attributes are keys of `report.json`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from pseudo_label.selection import precision, what_if
from pseudo_label.selection.decision import Selection
from pseudo_label.selection.precision import LabeledPredictions, Precision
from pseudo_label.selection.what_if import WhatIfCell
from workflow.report.analysis import metrics, prediction_counts
from workflow.report.analysis.metrics import ClassPrecision, CoveragePoint, Reliability
from workflow.report.analysis.missing import (
    Missing,
    MissingError,
    attempt,
    known,
    require,
)
from workflow.report.analysis.prediction_counts import (
    Churn,
    LabeledRound,
    PredictionCounts,
)
from workflow.report.analysis.run_files import Run

#: Largest number of rows of a table, whatever the number of classes.
MAX_ROWS = 25
#: Largest number of points of a curve over classes.
_MAX_RANKS = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReferenceImages:
    """Labeled images that precision is estimated on.

    Attributes:
        kind: `held_out`, `out_of_fold` or `test`.
        images: Number of images.
        before_blending: Whether they have the teacher's own predictions, although those
            selected from were blended with the labels of similar images.
    """

    kind: str
    images: int
    before_blending: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassCount:
    """Images predicted as a class (None if unknown), images kept, records written."""

    name: str
    predicted: int | None
    unique: int
    records: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ranks:
    """The counts of `ClassCount` at R ranks, each sorted by itself, descending.

    Attributes:
        places: R ranks, ascending from 1 to the number of classes.
        predicted: R counts; None if unknown.
        unique: R counts.
        records: R counts.
    """

    places: tuple[int, ...]
    predicted: tuple[int, ...] | None
    unique: tuple[int, ...]
    records: tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classes:
    """All classes before and after the selection.

    Attributes:
        count: Number of classes.
        empty: Number of classes without a kept image.
        fewest: The `MAX_ROWS` classes with the fewest kept images, or if there are no
            more classes, all of them by label.
        ranks: Counts by rank.
    """

    count: int
    empty: int
    fewest: tuple[ClassCount, ...]
    ranks: Ranks


@dataclasses.dataclass(frozen=True, kw_only=True)
class Confidences:
    """Histogram of the confidence of all images, and the range of thresholds."""

    bars: tuple[int, ...]
    lowest: float
    highest: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class WhatIf:
    """The settings of the selection, and the results of others.

    Attributes:
        threshold: Threshold of the selection; None if classes have their own.
        cells: Results by threshold, then by images per class.
    """

    threshold: float | None
    images_per_class: int
    cells: tuple[WhatIfCell, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoundFigures:
    """The figures of a round.

    Attributes:
        funnel: Number of images lost or left at each step.
        judges: Labeled images that precision is estimated on.
        kept: Precision of the kept labels.
        kept_share: Images kept, as a share of all.
        class_precision: Classes of the lowest precision, worst first.
        judged_classes: Number of classes with a known precision.
        coverage: Coverage and precision at other thresholds.
        churn: Changes against the round before; None in the first.
    """

    round: int
    funnel: dict[str, int]
    judges: ReferenceImages | Missing
    kept: Precision | Missing
    kept_share: float | None
    reliability: Reliability | Missing
    confidences: Confidences | Missing
    classes: Classes | Missing
    class_precision: tuple[ClassPrecision, ...] | Missing
    judged_classes: int
    what_if: WhatIf | Missing
    coverage: tuple[CoveragePoint, ...] | Missing
    churn: Churn | Missing | None


def read_round(run: Run, number: int, funnel: dict[str, int]) -> RoundFigures:
    """Returns the figures of a round, counted from 1, given its funnel."""
    labeled = attempt(lambda: run.labeled_round(number))
    reference = attempt(lambda: run.reference_predictions(number))
    levels = np.empty(0, np.float32)
    if not isinstance(reference, Missing):
        levels = metrics.coverage_levels(reference)
    counts = attempt(
        lambda: prediction_counts.count_predictions(require(labeled), levels)
    )
    precisions = attempt(
        lambda: metrics.class_precisions(
            require(reference),
            require(labeled).selection.lowest_kept,
            require(labeled).selection.class_names,
        )
    )
    return RoundFigures(
        round=number,
        funnel=funnel,
        judges=attempt(
            lambda: ReferenceImages(
                kind=require(reference).kind,
                images=len(require(reference).label),
                before_blending=run.blends(number),
            )
        ),
        kept=attempt(lambda: _kept(require(labeled).selection, reference)),
        kept_share=known(attempt(lambda: _kept_share(require(labeled)))),
        reliability=attempt(lambda: metrics.reliability(require(reference))),
        confidences=attempt(lambda: _confidences(require(labeled), require(counts))),
        classes=attempt(lambda: _classes(require(labeled), counts)),
        class_precision=attempt(lambda: _worst(require(precisions))),
        judged_classes=len(known(precisions) or ()),
        what_if=attempt(lambda: _what_if(require(labeled), counts, reference)),
        coverage=attempt(
            lambda: _coverage(require(reference), levels, require(counts))
        ),
        churn=attempt(lambda: _churn(run, number)) if number > 1 else None,
    )


def _kept(selection: Selection, reference: LabeledPredictions | Missing) -> Precision:
    if selection.estimate is not None:
        return selection.estimate.kept
    return precision.precision_above(require(reference), selection.lowest_kept)


def _kept_share(labeled: LabeledRound) -> float | None:
    funnel = labeled.selection.funnel
    return funnel.unique_kept / funnel.read if funnel.read else None


def _confidences(labeled: LabeledRound, counts: PredictionCounts) -> Confidences:
    thresholds = [rule.threshold for rule in labeled.selection.classes]
    return Confidences(
        bars=tuple(counts.bars.tolist()),
        lowest=min(thresholds),
        highest=max(thresholds),
    )


def _classes(labeled: LabeledRound, counts: PredictionCounts | Missing) -> Classes:
    rules = labeled.selection.classes
    unknown = [None] * len(rules)
    predicted = unknown if isinstance(counts, Missing) else counts.predicted.tolist()
    classes = [
        ClassCount(
            name=rule.name, predicted=images, unique=rule.unique, records=rule.records
        )
        for rule, images in zip(rules, predicted, strict=True)
    ]
    fewest = classes
    if len(classes) > MAX_ROWS:
        fewest = sorted(classes, key=lambda c: (c.unique, c.predicted or 0))
    return Classes(
        count=len(classes),
        empty=sum(c.unique == 0 for c in classes),
        fewest=tuple(fewest[:MAX_ROWS]),
        ranks=_ranks(classes),
    )


def _ranks(classes: list[ClassCount]) -> Ranks:
    last = len(classes) - 1
    at = np.unique(np.linspace(0, last, min(_MAX_RANKS, last + 1)).round().astype(int))

    def descending(counts: list[int]) -> tuple[int, ...]:
        return tuple(np.sort(counts)[::-1][at].tolist())

    predicted = [c.predicted for c in classes if c.predicted is not None]
    return Ranks(
        places=tuple((at + 1).tolist()),
        predicted=descending(predicted) if predicted else None,
        unique=descending([c.unique for c in classes]),
        records=descending([c.records for c in classes]),
    )


def _worst(precisions: tuple[ClassPrecision, ...]) -> tuple[ClassPrecision, ...]:
    """Returns the classes whose intervals end lowest, which needs enough images.

    Raises MissingError if there is none.
    """
    if not precisions:
        raise MissingError("The selection would keep none of the labeled images.")
    ascending = sorted(precisions, key=lambda c: (c.precision.high, c.precision.low))
    return tuple(ascending[:MAX_ROWS])


def _what_if(
    labeled: LabeledRound,
    counts: PredictionCounts | Missing,
    reference: LabeledPredictions | Missing,
) -> WhatIf:
    settings = labeled.selection.settings
    cells = what_if.read_table(labeled.selection_directory)
    if cells is None:
        tally = require(counts).tally
        cells = what_if.make_table(tally, settings, known(reference))
    thresholds = settings.thresholds.values
    is_common = len(thresholds) == 1 and not settings.thresholds.adaptive
    return WhatIf(
        threshold=thresholds[0] if is_common else None,
        images_per_class=settings.images_per_class,
        cells=cells,
    )


def _coverage(
    reference: LabeledPredictions, levels: NDArray[np.float32], counts: PredictionCounts
) -> tuple[CoveragePoint, ...]:
    coverage = (counts.reached / max(1, counts.images)).tolist()
    return metrics.coverage_curve(reference, levels, coverage)


def _churn(run: Run, number: int) -> Churn:
    return prediction_counts.compare_rounds(
        run.labeled_round(number - 1), run.labeled_round(number), round=number
    )
