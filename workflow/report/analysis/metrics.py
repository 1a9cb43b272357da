"""Statistics of predictions for labeled images, all of them pure functions.

The classifier was not trained on the images, which are those of `teacher.calibrate` or
the test images.
"""

from __future__ import annotations

import collections
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

#: Largest number of points of a coverage curve.
_MAX_POINTS = 120
#: Number of labeled images that reach the last threshold of a coverage curve.
_MIN_IMAGES = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interval:
    """A share in [0, 1], or a difference in [-1, 1], with its 95 % interval."""

    estimate: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """Labeled images of about the same confidence.

    Attributes:
        confidence: Mean confidence, in [0, 1].
        precision: Share of right predictions.
    """

    confidence: float
    precision: Precision


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reliability:
    """Accuracy of a classifier by its confidence.

    Attributes:
        error: Expected calibration error, in [0, 1].
        surplus: Mean confidence minus accuracy, in [-1, 1]; positive if overconfident.
        bins: Bins that hold an image, in ascending order.
    """

    error: float
    surplus: float
    bins: tuple[ReliabilityBin, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassPrecision:
    """Precision of the pseudo-labels of a class."""

    name: str
    precision: Precision


@dataclasses.dataclass(frozen=True, kw_only=True)
class Confusion:
    """Images of one class that are predicted as another.

    Attributes:
        name: True class.
        taken_for: Predicted class.
        of: Number of images of the true class.
        teacher: Number of them that the teacher predicts so.
        student: Number of them that the student predicts so; None if unknown.
    """

    name: str
    taken_for: str
    of: int
    teacher: int
    student: int | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class CoveragePoint:
    """Effect of one threshold for all classes.

    Attributes:
        threshold: Lowest confidence that is kept.
        coverage: Share of the unlabeled images that reach it, in [0, 1].
        precision: Precision of the labeled images that reach it.
    """

    threshold: float
    coverage: float
    precision: Precision


def share(successes: int, trials: int) -> Interval:
    """Returns a share with its 95 % score interval (Wilson 1927)."""
    low, high = wilson_interval(successes, trials)
    return Interval(estimate=successes / trials, low=low, high=high)


def paired_difference(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Interval:
    """Returns the difference of two accuracies on the same images.

    Newcombe's tenth method (Statistics in Medicine 17, 1998, 2635-2650): images that
    are hard for both classifiers do not widen the interval.

    Args:
        first: bool [N], whether one classifier is right about each image.
        second: bool [N], whether the other is.
    """
    images = len(first)
    right, other, both = (int(mask.sum()) for mask in (first, second, first & second))
    product = right * (images - right) * other * (images - other)
    # Images that both get right beyond those expected by chance, times all images, with
    # a continuity correction.
    excess = float(both * images - right * other)
    if excess > 0:
        excess = max(0.0, excess - images / 2)
    return difference(
        share(right, images),
        share(other, images),
        correlation=excess / math.sqrt(product) if product else 0.0,
    )


def difference(
    first: Interval, second: Interval, *, correlation: float = 0.0
) -> Interval:
    """Returns the difference of two shares, uncorrelated if of different images."""
    down = (first.estimate - first.low, second.high - second.estimate)
    up = (first.high - first.estimate, second.estimate - second.low)
    below, above = (
        math.sqrt(max(0.0, a**2 - 2 * correlation * a * b + b**2))
        for a, b in (down, up)
    )
    estimate = first.estimate - second.estimate
    return Interval(estimate=estimate, low=estimate - below, high=estimate + above)


def reliability(labeled: LabeledPredictions) -> Reliability:
    """Returns the accuracy by confidence, in the bins of the calibration error."""
    index = confidence_bins(labeled.confidence)
    images = np.bincount(index)
    right = np.bincount(index, labeled.is_right)
    confidence = np.bincount(index, labeled.confidence.astype(np.float64))
    return Reliability(
        error=calibration_error(labeled.confidence, labeled.is_right),
        surplus=float((confidence - right).sum() / images.sum()),
        bins=tuple(
            ReliabilityBin(
                confidence=float(confidence[at] / images[at]),
                precision=_precision(right[at], images[at]),
            )
            for at in np.flatnonzero(images)
        ),
    )


def class_precisions(
    labeled: LabeledPredictions, cuts: NDArray[np.float32], class_names: Sequence[str]
) -> tuple[ClassPrecision, ...]:
    """Returns the precision of each class that has an image.

    `cuts` are the lowest confidences kept, float32 [K].
    """
    labeled.check_classes(len(cuts))
    is_kept = labeled.confidence >= cuts[labeled.predicted]
    predicted = labeled.predicted[is_kept]
    images = np.bincount(predicted, minlength=len(cuts))
    right = np.bincount(predicted, labeled.is_right[is_kept], minlength=len(cuts))
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
    """Returns at most `count` confusions, the most frequent of either classifier.

    Both predictions are for the same images.
    """
    for labeled in (teacher, student or teacher):
        labeled.check_classes(len(class_names))
    by_teacher = _wrong_pairs(teacher)
    by_student = _wrong_pairs(student) if student else collections.Counter()
    highest, total = by_teacher | by_student, by_teacher + by_student
    images = np.bincount(teacher.label, minlength=len(class_names))
    # If the counts are equal, the lower classes come first.
    order = sorted(highest, key=lambda pair: (-highest[pair], -total[pair], pair))
    return tuple(
        Confusion(
            name=class_names[label],
            taken_for=class_names[predicted],
            of=int(images[label]),
            teacher=by_teacher[label, predicted],
            student=by_student[label, predicted] if student else None,
        )
        for label, predicted in order[:count]
    )


def coverage_levels(labeled: LabeledPredictions) -> NDArray[np.float32]:
    """Returns the thresholds of a coverage curve, float32 [L], ascending.

    They are confidences of labeled images, evenly spaced by rank, since the precision
    cannot change between them. The last one leaves enough images for an estimate.
    """
    ascending = np.sort(labeled.confidence)
    last = max(0, len(ascending) - _MIN_IMAGES)
    at = np.linspace(0, last, min(_MAX_POINTS, last + 1)).round().astype(int)
    return np.unique(np.append(np.float32(0.0), ascending[at]))


def coverage_curve(
    labeled: LabeledPredictions, levels: NDArray[np.float32], coverage: Sequence[float]
) -> tuple[CoveragePoint, ...]:
    """Returns the effect of each of the thresholds `levels`, float32 [L].

    `coverage` is the share of the unlabeled images that reach each of them, [L].
    """
    return tuple(
        CoveragePoint(
            threshold=float(level),
            coverage=reached,
            precision=Precision.of(labeled.is_right[labeled.confidence >= level]),
        )
        for level, reached in zip(levels, coverage, strict=True)
    )


def _precision(right: float, images: float) -> Precision:
    found = share(int(right), int(images))
    return Precision(**vars(found), images=int(images), right=int(right))


def _wrong_pairs(labeled: LabeledPredictions) -> collections.Counter[tuple[int, int]]:
    """Returns the number of wrongly predicted images by true and predicted class."""
    is_wrong = ~labeled.is_right
    labels, predicted = labeled.label[is_wrong], labeled.predicted[is_wrong]
    return collections.Counter(zip(labels.tolist(), predicted.tolist(), strict=True))
