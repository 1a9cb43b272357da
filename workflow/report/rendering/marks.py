"""Axes and marks of a chart: geometry, drawn as SVG by `templates/graphics.html`.

A chart is about as many units wide as the screen of a phone has pixels, so that its
text keeps its size when the chart is scaled to its column. The page's style sheet sets
colors, dashes and fonts by class.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence

from workflow.report.rendering.text import coordinate

WIDTH = 400.0
#: Distance between the labels of two lines, in units.
_LINE_HEIGHT = 14.0

Point = tuple[float, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Axis:
    """Maps values to units of a chart.

    Attributes:
        low: Value at `start`.
        high: Value at `end`.
        start: Coordinate of the lowest value, in units.
        end: Coordinate of the highest value, in units.
        ticks: Values with a label.
        format: Function that makes the label of a value.
        scale: Transform before the linear mapping, `math.log1p` for a logarithmic axis.
    """

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...] = ()
    format: Callable[[float], str] = str
    scale: Callable[[float], float] = float

    def __call__(self, value: float) -> float:
        """Returns the coordinate of a value, clipped to the ends of the axis."""
        low, high = self.scale(self.low), self.scale(self.high)
        part = (self.scale(value) - low) / (high - low) if high > low else 0.5
        return self.start + min(max(part, 0.0), 1.0) * (self.end - self.start)


@dataclasses.dataclass(frozen=True)
class Mark:
    """An SVG element, whose class selects its style; the template escapes its text."""

    tag: str
    attributes: dict[str, str]
    text: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chart:
    """A drawing with a description for screen readers.

    Attributes:
        title: Title of the chart.
        description: Main figures of the chart, in a sentence.
        marks: Elements of the drawing, from back to front.
        height: Height in units.
        width: Width in units.
    """

    title: str
    description: str
    marks: Sequence[Mark]
    height: float
    width: float = WIDTH


def ticks(low: float, high: float, count: int = 4) -> tuple[float, ...]:
    """Returns about `count` round values in [low, high]."""
    if not high > low:
        return (low,)
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((m * power for m in (1, 2, 2.5, 5, 10)), key=lambda s: abs(s - rough))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return tuple(round(index * step, 12) for index in range(first, last + 1))


def axis_percent(share: float) -> str:
    """Returns the label of a share, with no more decimals than it needs: 12.5%."""
    return f"{100 * share:.4g}%"


def axis_count(value: float) -> str:
    """Returns the short label of a count: 1,300, 20k, 4M."""
    for least, unit, letter in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if value >= least:
            return f"{value / unit:.4g}{letter}"
    return f"{value:,.4g}" if value != int(value) else f"{value:,.0f}"


def grid(x: Axis, y: Axis, *, x_name: str, y_name: str) -> list[Mark]:
    """Returns grid lines, the labels of the ticks, and the names of the axes."""
    marks = []
    for value in y.ticks:
        at = y(value)
        marks.append(line([(x.start, at), (x.end, at)], "grid"))
        marks.append(label(x.start - 6, at + 4, y.format(value), "tick end"))
    for value in x.ticks:
        at = x(value)
        marks.append(line([(at, y.start), (at, y.start + 4)], "axis"))
        marks.append(label(at, y.start + 18, x.format(value), "tick middle"))
    return [
        *marks,
        line([(x.start, y.start), (x.end, y.start)], "axis"),
        label(0, y.end - 15, y_name, "title"),
        label(x.end, y.start + 34, x_name, "title end"),
    ]


def line(points: Iterable[Point], class_: str) -> Mark:
    """Returns a line through points."""
    return Mark("path", {"d": _path(points), "class": class_, "fill": "none"})


def area(upper: Sequence[Point], lower: Sequence[Point], class_: str) -> Mark:
    """Returns the area between two lines."""
    outline = _path([*upper, *reversed(lower)])
    return Mark("path", {"d": f"{outline}Z", "class": class_})


def box(left: float, top: float, width: float, height: float, class_: str) -> Mark:
    """Returns a rectangle."""
    return _mark("rect", class_, x=left, y=top, width=width, height=height)


def dot(at: Point, radius: float, class_: str) -> Mark:
    """Returns a disc."""
    return _mark("circle", class_, cx=at[0], cy=at[1], r=radius)


def label(x: float, y: float, text: str, class_: str) -> Mark:
    """Returns a line of text, aligned to x by its class."""
    return _mark("text", class_, text, x=x, y=y)


def end_labels(
    ends: Iterable[tuple[str, Point, str]], *, top: float, bottom: float
) -> list[Mark]:
    """Returns the names of lines right of their ends, without overlap.

    `ends` holds the name, end point and class of each line. Names stay between `top`
    and `bottom`.
    """
    order = sorted(ends, key=lambda end: end[1][1])
    heights = spread([at[1] for _, at, _ in order], top=top, bottom=bottom)
    return [
        label(at[0] + 7, height + 4, text, f"label {class_}")
        for (text, at, class_), height in zip(order, heights, strict=True)
    ]


def spread(heights: Iterable[float], *, top: float, bottom: float) -> list[float]:
    """Returns ascending heights moved apart by a line, in one pass each way."""
    moved: list[float] = []
    for height in heights:
        moved.append(max(height, moved[-1] + _LINE_HEIGHT if moved else top))
    ceiling = bottom
    for index in reversed(range(len(moved))):
        moved[index] = min(moved[index], ceiling)
        ceiling = moved[index] - _LINE_HEIGHT
    return moved


def _path(points: Iterable[Point]) -> str:
    return "M" + "L".join(f"{coordinate(x)} {coordinate(y)}" for x, y in points)


def _mark(tag: str, class_: str, text: str = "", **values: float) -> Mark:
    coordinates = {name: coordinate(value) for name, value in values.items()}
    return Mark(tag, {**coordinates, "class": class_}, text)
