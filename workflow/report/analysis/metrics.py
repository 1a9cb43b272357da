"""What a classifier says about labeled images, held against their labels.

All functions are pure. They take a `LabeledPredictions`: labeled images that the classifier
was not trained on, be they those of `teacher.calibrate` or those to test on.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from classifier.inference.temperature_scaling import calibration_error, confidence_bins
from pseudo_label.selection.precision import (
    LabeledPredictions,
    Precision,
    wilson_interval,
)

#: Thresholds of a curve: more than a screen's width could show apart.
_MAX_POINTS = 120
#: Labeled images below which the end of a curve says nothing.
_MIN_IMAGES = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interval:
    """A share or a difference of two, and the 95 % interval that it lies in."""

    estimate: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bin:
    """Labeled images of about the same confidence.

    Attributes:
        confidence: Their mean.
        precision: Share of them that the classifier is right about.
    """

    confidence: float
    precision: Precision


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reliability:
    """How often a classifier is right, by how sure it is.

    Attributes:
        error: Expected calibration error, in [0, 1].
        surplus: Mean confidence less the share that is right; above 0 it is too sure.
        bins: Those that hold an image, ascending.
    """

    error: float
    surplus: float
    bins: tuple[Bin, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassPrecision:
    """How many of a class's pseudo-labels are right."""

    name: str
    precision: Precision


@dataclasses.dataclass(frozen=True, kw_only=True)
class Confusion:
    """Images of one class that are taken for another.

    Attributes:
        name: Their class.
        taken_for: What they are taken for.
        of: Images of the class.
        teacher: Of them, those that the teacher takes so.
        student: Likewise the student; None where nothing tells.
    """

    name: str
    taken_for: str
    of: int
    teacher: int
    student: int | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class CoveragePoint:
    """What one threshold for all classes keeps.

    Attributes:
        threshold: Lowest confidence that is kept.
        coverage: Share of the unlabeled images that reach it.
        precision: Of the labeled images that reach it.
    """

    threshold: float
    coverage: float
    precision: Precision


def share(successes: int, trials: int) -> Interval:
    """Returns a share with its 95 % score interval (Wilson 1927)."""
    low, high = wilson_interval(successes, trials)
    return Interval(estimate=successes / trials, low=low, high=high)


def paired_difference(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Interval:
    """Returns by how much the first is right more often, on the same images.

    Newcombe's tenth method (Statistics in Medicine 17, 1998, 2635-2650): images that
    are hard for both do not widen the interval.

    Args:
        first: bool [N], which images one classifier is right about.
        second: bool [N], which the other.
    """
    both = int((first & second).sum())
    one, other = int(first.sum()) - both, int(second.sum()) - both
    neither = len(first) - both - one - other
    product = (both + one) * (other + neither) * (both + other) * (one + neither)
    surplus = float(both * neither - one * other)
    if surplus > 0:
        surplus = max(0.0, surplus - len(first) / 2)
    correlation = surplus / math.sqrt(product) if product else 0.0
    return difference(
        share(int(first.sum()), len(first)),
        share(int(second.sum()), len(second)),
        correlation=correlation,
    )


def difference(
    first: Interval, second: Interval, *, correlation: float = 0.0
) -> Interval:
    """Returns the difference of two shares, of different images if not correlated."""
    down = (first.estimate - first.low, second.high - second.estimate)
    up = (first.high - first.estimate, second.estimate - second.low)
    below, above = (
        math.sqrt(max(0.0, a**2 - 2 * correlation * a * b + b**2))
        for a, b in (down, up)
    )
    estimate = first.estimate - second.estimate
    return Interval(estimate=estimate, low=estimate - below, high=estimate + above)


def reliability(judged: LabeledPredictions) -> Reliability:
    """Returns how often the classifier is right, by how sure it is."""
    index = confidence_bins(judged.confidence)
    images = np.bincount(index)
    right = np.bincount(index, judged.is_right)
    total = np.bincount(index, judged.confidence.astype(np.float64))
    return Reliability(
        error=calibration_error(judged.confidence, judged.is_right),
        surplus=float((total - right).sum() / images.sum()),
        bins=tuple(
            Bin(
                confidence=float(total[at] / images[at]),
                precision=_precision(right[at], images[at]),
            )
            for at in np.flatnonzero(images)
        ),
    )


def class_precisions(
    judged: LabeledPredictions, cuts: NDArray[np.float32], class_names: Sequence[str]
) -> tuple[ClassPrecision, ...]:
    """Returns the precision of each class's labels, of classes that have an image.

    Args:
        judged: Labeled images.
        cuts: float32 [K], the lowest confidence that is kept.
        class_names: K names.
    """
    is_kept = judged.confidence >= cuts[judged.predicted]
    label = judged.predicted[is_kept]
    images = np.bincount(label, minlength=len(cuts))
    right = np.bincount(label, judged.is_right[is_kept], minlength=len(cuts))
    return tuple(
        ClassPrecision(
            name=class_names[int(at)], precision=_precision(right[at], images[at])
        )
        for at in np.flatnonzero(images)
    )


def confusions(
    teacher: LabeledPredictions,
    class_names: Sequence[str],
    student: LabeledPredictions | None = None,
    *,
    count: int,
) -> tuple[Confusion, ...]:
    """Returns the pairs of classes that either takes for each other most often.

    Args:
        teacher: What it says.
        class_names: K names.
        student: What its student says about the same images.
        count: Of pairs, at the most.
    """
    by_teacher = _wrong_pairs(teacher)
    by_student = _wrong_pairs(student) if student is not None else {}
    pairs = {
        pair: (by_teacher.get(pair, 0), by_student.get(pair, 0))
        for pair in by_teacher | by_student
    }
    of_class = np.bincount(teacher.label, minlength=len(class_names))
    # Of equal counts, the lower classes come first.
    order = sorted(pairs, key=lambda pair: (-max(pairs[pair]), -sum(pairs[pair]), pair))
    return tuple(
        Confusion(
            name=class_names[label],
            taken_for=class_names[predicted],
            of=int(of_class[label]),
            teacher=pairs[label, predicted][0],
            student=pairs[label, predicted][1] if student is not None else None,
        )
        for label, predicted in order[:count]
    )


def coverage_levels(judged: LabeledPredictions) -> NDArray[np.float32]:
    """Returns the thresholds of a coverage curve, float32 [L], ascending.

    They are confidences of labeled images, between which the precision cannot change,
    evenly dealt; above the last of them too few images are left to tell.
    """
    ascending = np.sort(judged.confidence)
    last = max(0, len(ascending) - _MIN_IMAGES)
    at = np.linspace(0, last, min(_MAX_POINTS, last + 1)).round().astype(int)
    levels = np.unique(ascending[at])
    return np.unique(np.append(np.float32(0.0), levels))


def coverage_curve(
    judged: LabeledPredictions, levels: NDArray[np.float32], coverage: Sequence[float]
) -> tuple[CoveragePoint, ...]:
    """Returns what each threshold keeps.

    Args:
        judged: Labeled images.
        levels: float32 [L] thresholds.
        coverage: [L] share of the unlabeled images that reach each.
    """
    return tuple(
        CoveragePoint(
            threshold=float(level),
            coverage=reached,
            precision=Precision.of(judged.is_right[judged.confidence >= level]),
        )
        for level, reached in zip(levels, coverage, strict=True)
    )


def _precision(right: float, images: float) -> Precision:
    found = share(int(right), int(images))
    return Precision(**dataclasses.asdict(found), images=int(images), right=int(right))


def _wrong_pairs(judged: LabeledPredictions) -> dict[tuple[int, int], int]:
    """Returns how many images are of which class and taken for which other."""
    is_wrong = ~judged.is_right
    pairs = np.stack([judged.label[is_wrong], judged.predicted[is_wrong]], axis=1)
    found, images = np.unique(pairs, axis=0, return_counts=True)
    return {
        (int(label), int(predicted)): int(count)
        for (label, predicted), count in zip(found, images, strict=True)
    }
