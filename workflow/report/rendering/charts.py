"""The charts of a report: pure functions from figures to marks.

No chart relies on color alone: lines differ in their dashes and are labeled, and bars
of rejected images are hatched.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from pseudo_label.selection.precision import Precision
from workflow.report.analysis.learning_curves import (
    EVALUATION,
    LOSS,
    UNDER_NOISE,
    Series,
)
from workflow.report.analysis.metrics import CoveragePoint, Reliability
from workflow.report.analysis.round_figures import Confidences, Ranks
from workflow.report.rendering.marks import (
    Axis,
    Chart,
    Mark,
    area,
    axis_count,
    axis_percent,
    box,
    dot,
    end_labels,
    grid,
    label,
    line,
    ticks,
)

#: Number of labeled images below which the dot of a share is hollow.
FEW = 10
#: CSS classes, which set the color and the dashes of a line.
LINE_CLASSES = ("first", "second", "third", "fourth")
_LEFT, _TOP = 44.0, 31.0
#: Space below the horizontal axis.
_BOTTOM = 44.0
#: Ratio of the highest count to the median above which an axis is logarithmic.
_STEEP = 20.0
#: Width of the label of a threshold, in units.
_LABEL_WIDTH = 40.0
#: Width of a chart of learning curves; three are in a row.
_NARROW = 330.0
#: Thresholds with a label on a coverage curve.
_LABELED_THRESHOLDS = (0.5, 0.7, 0.9, 0.95, 0.99)


def reliability(found: Reliability) -> Chart:
    """Returns the accuracy of the teacher by its confidence."""
    height = 330.0
    x = _shares(_LEFT, 390.0)
    y = _shares(height - _BOTTOM, _TOP)
    most_images = max(bin_.precision.images for bin_ in found.bins)
    marks = []
    for bin_ in found.bins:
        precision = bin_.precision
        at = x(bin_.confidence)
        few = " few" if precision.images < FEW else ""
        ends = [(at, y(precision.low)), (at, y(precision.high))]
        marks.append(line(ends, f"whisker{few}"))
        radius = 2.5 + 4.0 * math.sqrt(precision.images / most_images)
        center = (at, y(precision.estimate or 0.0))
        marks.append(dot(center, radius, f"dot first{few}"))
    return Chart(
        title="Reliability diagram",
        description=f"The expected calibration error is {found.error:.1%}.",
        marks=[
            *grid(x, y, x_name="confidence", y_name="accuracy"),
            line([(x(0), y(0)), (x(1), y(1))], "reference"),
            *marks,
        ],
        height=height,
    )


def confidences(found: Confidences, *, is_logarithmic: bool) -> Chart:
    """Returns a histogram of the confidence of all images."""
    height = 250.0
    x = _shares(_LEFT, 390.0)
    y = _counts(max(found.bars), height - _BOTTOM, _TOP, is_logarithmic=is_logarithmic)
    width = (x.end - x.start) / len(found.bars)
    bars = []
    for index, images in enumerate(found.bars):
        # A bar that the threshold divides counts as kept.
        is_below = (index + 1) / len(found.bars) <= found.lowest
        class_ = f"bar {'hatched' if is_below else 'first'}"
        left, top = x.start + index * width + 0.5, y(images)
        bars.append(box(left, top, width - 1, y.start - top, class_))
    description = f"The threshold is {found.lowest:.3g}."
    if found.lowest != found.highest:
        description = (
            f"Thresholds of classes are {found.lowest:.3g} to {found.highest:.3g}."
        )
    return Chart(
        title="Histogram of the confidence of all images",
        description=description,
        marks=[
            *grid(x, y, x_name="confidence", y_name="images"),
            *bars,
            *_threshold(x, y, found),
        ],
        height=height,
    )


def _threshold(x: Axis, y: Axis, found: Confidences) -> Iterator[Mark]:
    for value in sorted({found.lowest, found.highest}):
        yield line([(x(value), y.start), (x(value), y.end)], "reference")
    is_right = x(found.lowest) > (x.start + x.end) / 2
    shift, class_ = (-6, "note end") if is_right else (6, "note")
    text = "threshold" if found.lowest == found.highest else "thresholds"
    yield label(x(found.lowest) + shift, y.end + 10, text, class_)


def ranks(found: Ranks) -> Chart:
    """Returns the images per class, from the largest class to the smallest."""
    height = 270.0
    before = found.predicted or found.unique
    highest = max(*before, *found.records, 1)
    x = _counts(found.places[-1], _LEFT, 330.0, low=1)
    y = _counts(highest, height - _BOTTOM, _TOP, is_logarithmic=is_steep(before))
    curves = {"before": found.predicted, "records": found.records, "kept": found.unique}
    drawn, ends = [], []
    for (text, values), class_ in zip(curves.items(), LINE_CLASSES, strict=False):
        if values is not None:
            points = [(x(p), y(v)) for p, v in zip(found.places, values, strict=True)]
            drawn.append(line(points, f"line {class_}"))
            ends.append((text, points[-1], class_))
    return Chart(
        title="Images of each class before and after the selection",
        description=f"The largest class has {max(before):,} images before it and "
        f"{max(found.unique):,} after, the smallest {min(before):,} and "
        f"{min(found.unique):,}.",
        marks=[
            *grid(x, y, x_name="classes, largest first", y_name="images of a class"),
            *drawn,
            *end_labels(ends, top=_TOP, bottom=y.start),
        ],
        height=height,
    )


def coverage(
    points: Sequence[CoveragePoint],
    kept: tuple[float, Precision] | None,
    *,
    low: float,
) -> Chart:
    """Returns the precision of the labels by the share of images a threshold keeps.

    `kept` is the share of images that the selection keeps and its precision, None if
    unknown; `low` is the precision at the lower edge.
    """
    height = 290.0
    known = [point for point in points if point.precision.estimate is not None]
    x = _shares(_LEFT, 385.0)
    y = _linear(low, 1.0, height - _BOTTOM, _TOP, axis_percent)
    upper = [(x(p.coverage), y(p.precision.high)) for p in known]
    lower = [(x(p.coverage), y(p.precision.low)) for p in known]
    curve = [(x(p.coverage), y(p.precision.estimate or 0.0)) for p in known]
    return Chart(
        title="Precision of the labels by the share of images kept",
        description=_describe_coverage(known),
        marks=[
            *grid(x, y, x_name="share of images kept", y_name="precision"),
            area(upper, lower, "band"),
            line(curve, "line first"),
            *_thresholds_on_curve(known, kept, x, y),
            *_selection(kept, x, y),
        ],
        height=height,
    )


def _describe_coverage(known: Sequence[CoveragePoint]) -> str:
    if not known:
        return "There is no labeled image to estimate it on."
    first, last = known[0], known[-1]
    return (
        f"Of all labels {first.precision.estimate or 0:.1%} are right. At the highest "
        f"threshold, {last.threshold:.3g}, {last.precision.estimate or 0:.1%} are; it "
        f"keeps {last.coverage:.1%} of the images."
    )


def _thresholds_on_curve(
    known: Sequence[CoveragePoint],
    kept: tuple[float, Precision] | None,
    x: Axis,
    y: Axis,
) -> Iterator[Mark]:
    """Yields dots and labels of round thresholds, where the labels do not overlap."""
    taken = [x(kept[0])] if kept is not None else []
    for threshold in _LABELED_THRESHOLDS:
        point = next((p for p in known if p.threshold >= threshold), None)
        if point is None:
            continue
        at = (x(point.coverage), y(point.precision.estimate or 0.0))
        end = max(at[0] - 4, x.start + _LABEL_WIDTH)
        if any(abs(end - other) < _LABEL_WIDTH for other in taken):
            continue
        taken.append(end)
        yield dot(at, 2.5, "dot first")
        text = f"\N{GREATER-THAN OR EQUAL TO} {threshold:g}"
        yield label(end, at[1] + 16, text, "note end")


def _selection(
    kept: tuple[float, Precision] | None, x: Axis, y: Axis
) -> Iterator[Mark]:
    """Yields the mark of what the selection keeps."""
    if kept is None or kept[1].estimate is None:
        return
    share, precision = kept
    at = (x(share), y(precision.estimate or 0.0))
    low = y(precision.low)
    is_right = at[0] > x.end - _LABEL_WIDTH
    shift, side = (10.0, "end") if is_right else (0.0, "middle")
    yield line([(at[0], low), (at[0], y(precision.high))], "whisker second")
    yield dot(at, 5, "dot second")
    yield label(at[0] + shift, low + 16, "selected", f"label second {side}")


def accuracy_and_loss(
    series: Sequence[Series], rounds: int
) -> tuple[list[Series], list[Series]]:
    """Returns the curves of accuracy and of loss.

    They are of the last two students, of all teachers under one name, and so in one
    line style, and of the control.
    """
    teachers = (curve.run for curve in series if curve.run.startswith("teacher"))
    names = {f"student {n}": f"student {n}" for n in (rounds, rounds - 1)}
    names |= {**dict.fromkeys(teachers, "teachers"), "control": "control"}
    return _pick(series, EVALUATION, names), _pick(series, LOSS, names)


def noise_curves(series: Sequence[Series], run: str) -> list[Series]:
    """Returns the accuracy of a student on noised training images.

    Pseudo-labeled and labeled images have curves of their own if these are known.
    """
    pseudo_labeled, labeled, both = (
        _pick(series, metric, {run: name})
        for metric, name in zip(
            UNDER_NOISE, ("pseudo-labeled", "labeled", "all images"), strict=True
        )
    )
    return [*pseudo_labeled, *labeled] or both


def _pick(
    series: Sequence[Series], metric: str, names: Mapping[str, str]
) -> list[Series]:
    """Returns the curves of a metric, in the order of `names`, which renames runs."""
    return [
        dataclasses.replace(curve, run=name)
        for run, name in names.items()
        for curve in series
        if (curve.run, curve.metric) == (run, metric)
    ]


def learning(series: Sequence[Series], *, title: str, y_name: str) -> Chart:
    """Returns the chart of at least one curve; those of one run share a line style.

    If no value is above 1, the values are shares.
    """
    height = 250.0
    values = [value for curve in series for _, value in curve.points]
    is_share = max(values) <= 1.0
    low = math.floor(10 * min(values)) / 10 if is_share else 0.0
    high = 1.0 if is_share else max(values)
    format_value = axis_percent if is_share else axis_count
    last_step = max(step for curve in series for step, _ in curve.points)
    x = _counts(last_step, _LEFT, _NARROW - 104.0)
    y = _linear(low, high, height - _BOTTOM, _TOP, format_value)
    ends = ", ".join(
        f"{curve.run} {format_value(curve.points[-1][1])}" for curve in series
    )
    return Chart(
        title=title,
        description=f"At the end: {ends}.",
        marks=[*grid(x, y, x_name="step", y_name=y_name), *_curves(series, x, y)],
        height=height,
        width=_NARROW,
    )


def _curves(series: Sequence[Series], x: Axis, y: Axis) -> Iterator[Mark]:
    """Yields the curves, and each name once, at the end of its last curve."""
    names = list(dict.fromkeys(curve.run for curve in series))
    ends = {}
    for curve in series:
        class_ = LINE_CLASSES[names.index(curve.run) % len(LINE_CLASSES)]
        points = [(x(step), y(value)) for step, value in curve.points]
        yield line(points, f"line {class_}")
        yield dot(points[-1], 3, f"dot {class_}")
        ends[curve.run] = (curve.run, points[-1], class_)
    yield from end_labels(ends.values(), top=y.end, bottom=y.start)


def lowest_precision(
    points: Iterable[CoveragePoint], kept: Iterable[Precision]
) -> float:
    """Returns a common lower edge for the coverage charts of several rounds."""
    shown = [point.precision.estimate for point in points]
    shown += [found.low for found in kept]
    known = [share for share in shown if share is not None]
    return min(0.9, math.floor(10 * min(known, default=0.9)) / 10)


def is_steep(counts: Sequence[int]) -> bool:
    """Whether a typical count would not be visible beside the highest one."""
    positive = sorted(count for count in counts if count) or [0]
    return positive[-1] > _STEEP * max(1, positive[len(positive) // 2])


def _linear(
    low: float, high: float, start: float, end: float, format: Callable[[float], str]
) -> Axis:
    """Returns a linear axis with round ticks."""
    return Axis(
        low=low, high=high, start=start, end=end, ticks=ticks(low, high), format=format
    )


def _shares(start: float, end: float) -> Axis:
    """Returns an axis of shares from 0 to 1."""
    return _linear(0.0, 1.0, start, end, axis_percent)


def _counts(
    high: float,
    start: float,
    end: float,
    *,
    low: float = 0,
    is_logarithmic: bool = False,
) -> Axis:
    """Returns an axis of integers from `low`, 0 or 1, to `high`."""
    high = max(high, low + 1)
    marks = tuple(t for t in ticks(low, high) if t == int(t))
    if is_logarithmic:
        marks = (0.0, *(10.0**n for n in range(math.floor(math.log10(high)) + 1)))
    return Axis(
        low=low,
        high=high,
        start=start,
        end=end,
        ticks=(low, *marks) if low and marks[0] != low else marks,
        format=axis_count,
        scale=math.log1p if is_logarithmic else float,
    )
