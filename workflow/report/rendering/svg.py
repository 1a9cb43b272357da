"""Axes and marks of a chart, as SVG.

A chart is drawn some hundred units wide and scaled to its column: about as many pixels
on a telephone as on a screen, so that its text keeps its size. Colors, dashes and fonts
are those of the page's style sheet, by class.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

from workflow.report.rendering.markup import Markup, element, join, number

WIDTH = 400
#: Distance between the labels of two lines, in units.
_LINE_HEIGHT = 14.0

Point = tuple[float, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Axis:
    """Where values are, in units, and which of them are named.

    Attributes:
        low: Value at the start.
        high: Value at the end.
        start: Unit of the lowest value.
        end: Unit of the highest.
        ticks: Values with a mark.
        tell: Names a value.
        bend: What values are before they are spread evenly.
    """

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]
    tell: Callable[[float], str]
    bend: Callable[[float], float] = float

    def __call__(self, value: float) -> float:
        """Returns where a value is; beyond the ends, the end."""
        low, high = self.bend(self.low), self.bend(self.high)
        part = (self.bend(value) - low) / (high - low) if high > low else 0.5
        return self.start + min(max(part, 0.0), 1.0) * (self.end - self.start)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Label:
    """The name of a line, at its end.

    Attributes:
        text: The name.
        at: Where the line ends.
        class_: Of the style sheet.
    """

    text: str
    at: Point
    class_: str


def ticks(low: float, high: float, count: int = 4) -> tuple[float, ...]:
    """Returns about so many round values between two, both included."""
    if not high > low:
        return (low,)
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((m * power for m in (1, 2, 2.5, 5, 10)), key=lambda s: abs(s - rough))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return tuple(round(index * step, 12) for index in range(first, last + 1))


def percent(share: float) -> str:
    """Returns a share for an axis."""
    return f"{100 * share:.4g}%"


def compact(value: float) -> str:
    """Returns a count in few letters: 1,300, 20k, 4M."""
    for least, unit, letter in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if value >= least:
            return f"{value / unit:.4g}{letter}"
    return f"{value:,.4g}" if value != int(value) else f"{value:,.0f}"


def chart(
    *content: Markup,
    name: str,
    title: str,
    description: str,
    height: float,
    width: float = WIDTH,
) -> Markup:
    """Returns a chart.

    Args:
        *content: Its marks.
        name: Of the page's own making, unique on it.
        title: What is shown, for those who cannot see it.
        description: What it says.
        height: In units.
        width: Likewise.
    """
    return element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", description, id=f"{name}-desc"),
        *content,
        viewBox=f"0 0 {number(width)} {number(height)}",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
        class_="chart",
    )


def grid(x: Axis, y: Axis, *, x_name: str, y_name: str) -> Markup:
    """Returns lines at the ticks, their values, and what the axes are."""
    return join(
        [
            *(_tick_of_y(x, y, value) for value in y.ticks),
            *(_tick_of_x(x, y, value) for value in x.ticks),
            line([(x.start, y.start), (x.end, y.start)], class_="axis"),
            words(0, y.end - 15, y_name, class_="title"),
            words(x.end, y.start + 34, x_name, class_="title end"),
        ]
    )


def line(points: Sequence[Point], *, class_: str) -> Markup:
    """Returns a line through points, in units."""
    return element("path", d=_path(points), class_=class_, fill="none")


def area(upper: Sequence[Point], lower: Sequence[Point], *, class_: str) -> Markup:
    """Returns what is between two lines."""
    return element("path", d=_path([*upper, *reversed(lower)]) + "Z", class_=class_)


def box(left: float, top: float, width: float, height: float, class_: str) -> Markup:
    """Returns a rectangle."""
    return element("rect", x=left, y=top, width=width, height=height, class_=class_)


def dot(at: Point, radius: float, *, class_: str) -> Markup:
    """Returns a disc."""
    return element("circle", cx=at[0], cy=at[1], r=radius, class_=class_)


def words(x: float, y: float, text: str, *, class_: str) -> Markup:
    """Returns a line of text; `class_` says on which side of x it stands."""
    return element("text", text, x=x, y=y, class_=class_)


def end_labels(labels: Sequence[Label], *, top: float, bottom: float) -> Markup:
    """Returns names right of the ends of their lines, none upon another."""
    order = sorted(labels, key=lambda label: label.at[1])
    heights = spread([label.at[1] for label in order], top=top, bottom=bottom)
    return join(
        words(label.at[0] + 7, height + 4, label.text, class_=f"label {label.class_}")
        for label, height in zip(order, heights, strict=True)
    )


def spread(
    heights: Sequence[float], *, top: float, bottom: float, gap: float = _LINE_HEIGHT
) -> list[float]:
    """Returns ascending heights moved apart as little as one pass down and up needs."""
    moved: list[float] = []
    for height in heights:
        moved.append(max(height, moved[-1] + gap if moved else top))
    ceiling = bottom
    for index in reversed(range(len(moved))):
        moved[index] = min(moved[index], ceiling)
        ceiling = moved[index] - gap
    return moved


def _tick_of_y(x: Axis, y: Axis, value: float) -> Markup:
    at = y(value)
    return join(
        [
            line([(x.start, at), (x.end, at)], class_="grid"),
            words(x.start - 6, at + 4, y.tell(value), class_="tick end"),
        ]
    )


def _tick_of_x(x: Axis, y: Axis, value: float) -> Markup:
    at = x(value)
    return join(
        [
            line([(at, y.start), (at, y.start + 4)], class_="axis"),
            words(at, y.start + 18, x.tell(value), class_="tick middle"),
        ]
    )


def _path(points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)
