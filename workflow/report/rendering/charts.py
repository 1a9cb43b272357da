"""The charts of a report: pure functions from figures to SVG.

No chart tells anything by its color alone: lines differ in their dashes and carry
their names, what is not kept is hatched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from pseudo_label.selection.precision import Precision
from workflow.report.analysis.learning_curves import Series
from workflow.report.analysis.metrics import CoveragePoint, Reliability
from workflow.report.analysis.round_figures import Confidences, Ranks
from workflow.report.rendering.markup import Markup, element, join
from workflow.report.rendering.svg import (
    Axis,
    Label,
    area,
    box,
    chart,
    compact,
    dot,
    end_labels,
    grid,
    line,
    percent,
    ticks,
    words,
)

#: Labeled images below which a share says little, and its dot is hollow.
FEW = 10
_LEFT, _TOP = 44.0, 31.0
#: Classes of the style sheet, by which lines differ in color and dashes.
LINES = ("first", "second", "third", "fourth")
#: Of the highest count to the middle one, beyond which an axis is logarithmic.
_STEEP = 20.0
#: Units that the name of a threshold takes.
_NAME_WIDTH = 40.0
#: Learning curves stand three in a row.
_NARROW = 330.0
#: Thresholds that are named on a coverage curve.
_NAMED = (0.5, 0.7, 0.9, 0.95, 0.99)


def reliability(found: Reliability, *, name: str) -> Markup:
    """Returns how often the teacher is right, by how sure it is."""
    height = 330.0
    x = _shares(_LEFT, 390.0)
    y = _shares(height - 44.0, _TOP)
    most = max(one.precision.images for one in found.bins)
    marks = []
    for one in found.bins:
        at = x(one.confidence)
        low, high = y(one.precision.low), y(one.precision.high)
        radius = 2.5 + 4.0 * math.sqrt(one.precision.images / most)
        few = "few" if one.precision.images < FEW else "many"
        marks.append(line([(at, low), (at, high)], class_=f"whisker {few}"))
        marks.append(
            dot(
                (at, y(one.precision.estimate or 0.0)),
                radius,
                class_=f"dot first {few}",
            )
        )
    return chart(
        grid(x, y, x_name="confidence", y_name="right"),
        line([(x(0), y(0)), (x(1), y(1))], class_="reference"),
        *marks,
        name=name,
        title="Reliability diagram",
        description=f"The expected calibration error is {found.error:.1%}.",
        height=height,
    )


def confidences(found: Confidences, *, name: str, is_bent: bool) -> Markup:
    """Returns how many of all images have which confidence, logarithmic if bent."""
    height = 250.0
    x = _shares(_LEFT, 390.0)
    y = _counts(max(found.bars), height - 44.0, _TOP, is_bent=is_bent)
    width = (x.end - x.start) / len(found.bars)
    bars = []
    for index, images in enumerate(found.bars):
        # A bar is kept as soon as a part of it is.
        is_below = (index + 1) / len(found.bars) <= found.lowest
        top = y(images)
        bars.append(
            box(
                x.start + index * width + 0.5,
                top,
                width - 1,
                y.start - top,
                f"bar {'hatched' if is_below else 'first'}",
            )
        )
    return chart(
        grid(x, y, x_name="confidence", y_name="images"),
        *bars,
        _threshold(x, y, found),
        name=name,
        title="Histogram of the confidence of all images",
        description=_tell_thresholds(found),
        height=height,
    )


def ranks(found: Ranks, *, name: str) -> Markup:
    """Returns images of a class, from the richest class to the poorest."""
    height = 270.0
    before = found.predicted or found.unique
    most = max(*before, *found.records, 1)
    x = _counts(found.places[-1], _LEFT, 330.0, low=1)
    y = _counts(most, height - 44.0, _TOP, is_bent=is_steep(before))
    lines = [("before", found.predicted), ("records", found.records)]
    lines.append(("kept", found.unique))
    drawn, labels = [], []
    for (text, values), class_ in zip(lines, LINES, strict=False):
        if values is None:
            continue
        points = [(x(p), y(v)) for p, v in zip(found.places, values, strict=True)]
        drawn.append(line(points, class_=f"line {class_}"))
        labels.append(Label(text=text, at=points[-1], class_=class_))
    return chart(
        grid(x, y, x_name="classes, the richest first", y_name="images of a class"),
        *drawn,
        end_labels(labels, top=_TOP, bottom=y.start),
        name=name,
        title="Images of each class before and after the selection",
        description=f"The richest class has {max(before):,} images before it and "
        f"{max(found.unique):,} after, the poorest {min(before):,} and "
        f"{min(found.unique):,}.",
        height=height,
    )


def coverage(
    points: Sequence[CoveragePoint],
    kept: tuple[float, Precision] | None,
    *,
    name: str,
    low: float,
) -> Markup:
    """Returns how precise the labels are, by how many images a threshold keeps.

    Args:
        points: Of the curve.
        kept: What the selection keeps, and how precise that is; None if unknown.
        name: Of the chart.
        low: Precision at its lower edge.
    """
    height = 290.0
    known = [point for point in points if point.precision.estimate is not None]
    x = _shares(_LEFT, 385.0)
    y = _plain(low, 1.0, height - 44.0, tell=percent)
    upper = [(x(p.coverage), y(p.precision.high)) for p in known]
    lower = [(x(p.coverage), y(p.precision.low)) for p in known]
    curve = [(x(p.coverage), y(p.precision.estimate or 0.0)) for p in known]
    return chart(
        grid(x, y, x_name="images kept, of all", y_name="labels right"),
        area(upper, lower, class_="band"),
        line(curve, class_="line first"),
        _named_thresholds(known, kept, x, y),
        _selection(kept, x, y),
        name=name,
        title="Precision of the labels by the share of images kept",
        description=_tell_coverage(known),
        height=height,
    )


def learning(series: Sequence[Series], *, name: str, title: str, y_name: str) -> Markup:
    """Returns the curves of some trainings; those of one name share a line's look.

    Args:
        series: At least one.
        name: Of the chart.
        title: What it shows.
        y_name: What the values are; none above 1 are shares.
    """
    height = 250.0
    values = [value for one in series for _, value in one.points]
    is_share = max(values) <= 1.0
    low = math.floor(10 * min(values)) / 10 if is_share else 0.0
    tell = percent if is_share else compact
    last_step = max(step for one in series for step, _ in one.points)
    x = _counts(last_step, _LEFT, _NARROW - 104.0)
    y = _plain(low, 1.0 if is_share else max(values), height - 44.0, tell=tell)
    ends = ", ".join(f"{one.run} {tell(one.points[-1][1])}" for one in series)
    return chart(
        grid(x, y, x_name="step", y_name=y_name),
        _curves(series, x, y),
        name=name,
        title=title,
        description=f"At the end: {ends}.",
        height=height,
        width=_NARROW,
    )


def _curves(series: Sequence[Series], x: Axis, y: Axis) -> Markup:
    """Returns the lines, and a name for all of one name, at the end of the last."""
    names = list(dict.fromkeys(one.run for one in series))
    looks = {name: LINES[index % len(LINES)] for index, name in enumerate(names)}
    drawn, labels = [], {}
    for one in series:
        look = looks[one.run]
        points = [(x(step), y(value)) for step, value in one.points]
        drawn.append(line(points, class_=f"line {look}"))
        drawn.append(dot(points[-1], 3, class_=f"dot {look}"))
        labels[one.run] = Label(text=one.run, at=points[-1], class_=look)
    return join([*drawn, end_labels(list(labels.values()), top=y.end, bottom=y.start)])


def lowest_precision(
    curves: Iterable[Sequence[CoveragePoint]], kept: Iterable[Precision]
) -> float:
    """Returns the lower edge of coverage charts that stand side by side."""
    shown = [p.precision.estimate for points in curves for p in points]
    shown += [one.low for one in kept]
    known = [share for share in shown if share is not None]
    return min(0.9, math.floor(10 * min(known, default=0.9)) / 10)


def is_steep(counts: Sequence[int]) -> bool:
    """Whether most of what is there would not be seen beside the highest."""
    there = sorted(count for count in counts if count) or [0]
    return there[-1] > _STEEP * max(1, there[len(there) // 2])


def definitions() -> Markup:
    """Returns the pattern of what is not kept, which a page has once."""
    pattern = element(
        "pattern",
        element("path", d="M0 5L5 0", class_="hatch"),
        id="hatching",
        width=5,
        height=5,
        patternUnits="userSpaceOnUse",
    )
    return element("svg", element("defs", pattern), class_="definitions")


def _plain(
    low: float, high: float, start: float, *, tell: Callable[[float], str]
) -> Axis:
    """Returns a vertical axis."""
    return Axis(
        low=low, high=high, start=start, end=_TOP, ticks=ticks(low, high), tell=tell
    )


def _shares(start: float, end: float) -> Axis:
    return Axis(
        low=0.0,
        high=1.0,
        start=start,
        end=end,
        ticks=(0.0, 0.25, 0.5, 0.75, 1.0),
        tell=percent,
    )


def _counts(
    most: float, start: float, end: float, *, low: float = 0, is_bent: bool = False
) -> Axis:
    """Returns an axis from 0 or 1 on, logarithmic if bent."""
    most = max(most, low + 1)
    marks = tuple(t for t in ticks(low, most) if t == int(t))
    if is_bent:
        marks = (0.0, *(10.0**n for n in range(math.floor(math.log10(most)) + 1)))
    return Axis(
        low=low,
        high=most,
        start=start,
        end=end,
        ticks=(low, *marks) if low and marks[0] != low else marks,
        tell=compact,
        bend=math.log1p if is_bent else float,
    )


def _threshold(x: Axis, y: Axis, found: Confidences) -> Markup:
    parts = []
    for value in sorted({found.lowest, found.highest}):
        parts.append(line([(x(value), y.start), (x(value), y.end)], class_="reference"))
    is_right = x(found.lowest) > (x.start + x.end) / 2
    shift, side = (-6, "note end") if is_right else (6, "note")
    text = "threshold" if found.lowest == found.highest else "thresholds"
    parts.append(words(x(found.lowest) + shift, y.end + 10, text, class_=side))
    return join(parts)


def _tell_thresholds(found: Confidences) -> str:
    if found.lowest == found.highest:
        return f"The threshold is {found.lowest:.3g}."
    return f"Thresholds of classes are {found.lowest:.3g} to {found.highest:.3g}."


def _named_thresholds(
    known: Sequence[CoveragePoint],
    kept: tuple[float, Precision] | None,
    x: Axis,
    y: Axis,
) -> Markup:
    """Returns marks on the curve, where no other name is in their way."""
    parts: list[Markup] = []
    taken = [x(kept[0])] if kept is not None else []
    for threshold in _NAMED:
        point = next((p for p in known if p.threshold >= threshold), None)
        if point is None:
            continue
        at = (x(point.coverage), y(point.precision.estimate or 0.0))
        end = max(at[0] - 4, x.start + _NAME_WIDTH)
        if any(abs(end - other) < _NAME_WIDTH for other in taken):
            continue
        taken.append(end)
        parts.append(dot(at, 2.5, class_="dot first"))
        name = f"\N{GREATER-THAN OR EQUAL TO} {threshold:g}"
        parts.append(words(end, at[1] + 16, name, class_="note end"))
    return join(parts)


def _selection(kept: tuple[float, Precision] | None, x: Axis, y: Axis) -> Markup:
    if kept is None or kept[1].estimate is None:
        return join([])
    share, precision = kept
    at = (x(share), y(precision.estimate or 0.0))
    low = y(precision.low)
    is_right = at[0] > x.end - _NAME_WIDTH
    shift, side = (10.0, "end") if is_right else (0.0, "middle")
    return join(
        [
            line([(at[0], low), (at[0], y(precision.high))], class_="whisker second"),
            dot(at, 5, class_="dot second"),
            words(at[0] + shift, low + 16, "selected", class_=f"label second {side}"),
        ]
    )


def _tell_coverage(known: Sequence[CoveragePoint]) -> str:
    if not known:
        return "No labeled image tells."
    all_of, fewest = known[0], known[-1]
    return (
        f"Of all labels {all_of.precision.estimate or 0:.1%} are right; at the highest "
        f"threshold, {fewest.threshold:.3g}, which keeps {fewest.coverage:.1%} of the "
        f"images, {fewest.precision.estimate or 0:.1%}."
    )
