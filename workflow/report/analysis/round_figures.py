"""The figures of one round: what the teacher said, and what was made of it.

What a run does not have is `Missing`, with the reason and the command that makes it:
a report is written of whatever is there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from etils import epath
from numpy.typing import NDArray

from pseudo_label.selection import precision, what_if
from pseudo_label.selection.decision import Selection
from pseudo_label.selection.precision import LabeledPredictions, Precision
from pseudo_label.selection.what_if import Cell
from workflow.report.analysis import metrics, prediction_counts, run_files
from workflow.report.analysis.metrics import ClassPrecision, CoveragePoint, Reliability
from workflow.report.analysis.prediction_counts import Churn, LabeledRound, Survey
from workflow.report.analysis.run_files import MissingError, Run

WHAT_IF = "what_if.json"
#: Rows of a table: what is worth a look, of however many classes.
MOST_ROWS = 25
#: Ranks at which a histogram of more classes is shown.
_MOST_RANKS = 100

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Missing:
    """A figure that is not there.

    Attributes:
        reason: In one line.
        command: Which makes it; empty where none does.
    """

    reason: str
    command: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judges:
    """Labeled images that tell how many labels are right.

    Attributes:
        kind: `held_out`, `out_of_fold` or `test`.
        images: How many.
    """

    kind: str
    images: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassCount:
    """A class before and after the selection.

    Attributes:
        name: The class.
        predicted: Images that have it as their top class; None where nothing tells.
        unique: Images kept.
        records: Images kept, copies counted.
    """

    name: str
    predicted: int | None
    unique: int
    records: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ranks:
    """Classes from the richest to the poorest, at some of their places.

    Attributes:
        places: From 1 to the number of classes.
        predicted: Images of the class in that place before the selection; None where
            nothing tells.
        unique: Likewise of images kept, whose order is their own.
        records: Likewise of records.
    """

    places: tuple[int, ...]
    predicted: tuple[int, ...] | None
    unique: tuple[int, ...]
    records: tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classes:
    """All classes before and after the selection.

    Attributes:
        count: How many they are.
        empty: Of them, those of which nothing is kept.
        fewest: Those of which the fewest images are kept; all, by label, if they are
            few.
        ranks: All of them, without their names.
    """

    count: int
    empty: int
    fewest: tuple[ClassCount, ...]
    ranks: Ranks


@dataclasses.dataclass(frozen=True, kw_only=True)
class Confidences:
    """All images by the confidence of their top class.

    Attributes:
        bars: Images, in bars of equal width from 0 to 1.
        lowest: Threshold of the class where it is lowest.
        highest: Of the class where it is highest.
    """

    bars: tuple[int, ...]
    lowest: float
    highest: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class WhatIf:
    """What other settings would keep, and those that were chosen.

    Attributes:
        threshold: That was chosen; None where classes have their own.
        images_per_class: That were chosen.
        cells: By threshold, then by images per class.
    """

    threshold: float | None
    images_per_class: int
    cells: tuple[Cell, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoundFigures:
    """What a round has made.

    Attributes:
        round: From 1 on.
        funnel: Where the images went.
        judges: Who tells how many labels are right; all that follows from them is
            missing where they are.
        kept: How many of the kept labels are right.
        kept_share: Images kept, of all.
        reliability: Of the teacher.
        confidences: Of all images.
        classes: Before and after the selection.
        class_precision: Of the classes that are most surely bad, worst first.
        judged_classes: Of how many classes it is known.
        what_if: What other settings would keep.
        coverage: What other thresholds would keep, and how precisely.
        churn: Against the round before; None in the first.
    """

    round: int
    funnel: dict[str, int]
    judges: Judges | Missing
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


def attempt(compute: Callable[[], T]) -> T | Missing:
    """Returns what a function does, or why it cannot."""
    try:
        return compute()
    except MissingError as error:
        return Missing(reason=error.reason, command=error.command)
    except (ValueError, OSError) as error:
        return Missing(reason=" ".join(str(error).split()))
    except KeyError as error:
        return Missing(reason=f"There is no {error} in a file of another version.")


def need(found: T | Missing) -> T:
    """Returns what was found.

    Raises:
        MissingError: If that is nothing.
    """
    if isinstance(found, Missing):
        raise MissingError(found.reason, found.command)
    return found


def read_round(run: Run, number: int, funnel: dict[str, int]) -> RoundFigures:
    """Returns the figures of a round, whose images went where the funnel says."""
    labeled = attempt(lambda: run.labeled(number))
    judges = attempt(lambda: run.judged(number))
    levels = np.empty(0, np.float32)
    if not isinstance(judges, Missing):
        levels = metrics.coverage_levels(judges)
    counted = attempt(lambda: prediction_counts.count(need(labeled), levels))
    precisions = attempt(
        lambda: metrics.class_precisions(
            need(judges), _cuts(need(labeled).selection), need(labeled).class_names
        )
    )
    return RoundFigures(
        round=number,
        funnel=funnel,
        judges=attempt(lambda: _judges(need(judges))),
        kept=attempt(lambda: _kept(need(labeled).selection, judges)),
        kept_share=_kept_share(labeled),
        reliability=attempt(lambda: metrics.reliability(need(judges))),
        confidences=attempt(lambda: _confidences(need(labeled), need(counted))),
        classes=attempt(lambda: _classes(need(labeled), counted)),
        class_precision=attempt(lambda: _worst(need(precisions))),
        judged_classes=0 if isinstance(precisions, Missing) else len(precisions),
        what_if=attempt(lambda: _what_if(need(labeled), counted, judges)),
        coverage=attempt(lambda: _coverage(need(judges), levels, need(counted))),
        churn=attempt(lambda: _churn(run, number)) if number > 1 else None,
    )


def _judges(found: LabeledPredictions) -> Judges:
    return Judges(kind=found.kind, images=len(found.label))


def _cuts(selection: Selection) -> NDArray[np.float32]:
    """Returns the lowest confidence that is kept of each class, float32 [K]."""
    return np.array(
        [
            rule.cut_off.confidence if rule.cut_off is not None else np.inf
            for rule in selection.classes
        ],
        np.float32,
    )


def _kept(selection: Selection, judges: LabeledPredictions | Missing) -> Precision:
    if selection.estimate is not None:
        return selection.estimate.kept
    return precision.precision_above(need(judges), _cuts(selection))


def _kept_share(labeled: LabeledRound | Missing) -> float | None:
    if isinstance(labeled, Missing):
        return None
    funnel = labeled.selection.funnel
    return funnel.unique_kept / funnel.read if funnel.read else None


def _confidences(labeled: LabeledRound, counted: Survey) -> Confidences:
    thresholds = [rule.threshold for rule in labeled.selection.classes]
    return Confidences(
        bars=tuple(counted.bars.tolist()),
        lowest=min(thresholds),
        highest=max(thresholds),
    )


def _classes(labeled: LabeledRound, counted: Survey | Missing) -> Classes:
    rules = labeled.selection.classes
    predicted = None if isinstance(counted, Missing) else counted.predicted.tolist()
    counts = [
        ClassCount(
            name=rule.name,
            predicted=predicted[label] if predicted else None,
            unique=rule.unique,
            records=rule.records,
        )
        for label, rule in enumerate(rules)
    ]
    fewest = counts
    if len(counts) > MOST_ROWS:
        fewest = sorted(counts, key=lambda one: (one.unique, one.predicted or 0))
    return Classes(
        count=len(counts),
        empty=sum(one.unique == 0 for one in counts),
        fewest=tuple(fewest[:MOST_ROWS]),
        ranks=_ranks(counts),
    )


def _ranks(counts: list[ClassCount]) -> Ranks:
    last = len(counts) - 1
    at = np.unique(np.linspace(0, last, min(_MOST_RANKS, last + 1)).round().astype(int))

    def richest(values: list[int]) -> tuple[int, ...]:
        return tuple(np.sort(values)[::-1][at].tolist())

    predicted = [one.predicted for one in counts if one.predicted is not None]
    return Ranks(
        places=tuple((at + 1).tolist()),
        predicted=richest(predicted) if predicted else None,
        unique=richest([one.unique for one in counts]),
        records=richest([one.records for one in counts]),
    )


def _worst(precisions: tuple[ClassPrecision, ...]) -> tuple[ClassPrecision, ...]:
    """Returns those that are most surely bad: whose interval ends lowest."""
    ascending = sorted(
        precisions, key=lambda one: (one.precision.high, one.precision.low)
    )
    return tuple(ascending[:MOST_ROWS])


def _what_if(
    labeled: LabeledRound,
    counted: Survey | Missing,
    judges: LabeledPredictions | Missing,
) -> WhatIf:
    settings = labeled.selection.settings
    path = epath.Path(labeled.dropped_in) / WHAT_IF
    if path.exists():
        cells = what_if.from_json(run_files.read_json(path))
    else:
        calibration = None if isinstance(judges, Missing) else judges
        cells = what_if.make_table(need(counted).tally, settings, calibration)
    thresholds = settings.thresholds.values
    is_one = len(thresholds) == 1 and not settings.thresholds.adaptive
    return WhatIf(
        threshold=thresholds[0] if is_one else None,
        images_per_class=settings.images_per_class,
        cells=cells,
    )


def _coverage(
    judges: LabeledPredictions, levels: NDArray[np.float32], counted: Survey
) -> tuple[CoveragePoint, ...]:
    coverage = (counted.reached / max(1, counted.images)).tolist()
    return metrics.coverage_curve(judges, levels, coverage)


def _churn(run: Run, number: int) -> Churn:
    return prediction_counts.churn(
        run.labeled(number - 1), run.labeled(number), round=number
    )
