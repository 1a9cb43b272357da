"""Graphics as high as a line of text, for the cells of a table.

They are stretched to the width of their cell, whose neighbors say the same in figures,
so they are hidden from those who hear the page.
"""

from __future__ import annotations

from workflow.report.analysis.metrics import Interval
from workflow.report.rendering.markup import Markup, element

_WIDTH, _HEIGHT = 100.0, 16.0
#: The least that is seen of what is there.
_LEAST = 0.4


def bar(value: float, most: float, class_: str = "first") -> Markup:
    """Returns a bar from the left edge; `most` fills the cell."""
    return piece(0.0, value, most, class_)


def piece(start: float, end: float, most: float, class_: str) -> Markup:
    """Returns the part of a bar between two values."""
    return _strip(_box(start, end, most, class_, 2.0, 12.0))


def pair(upper: float, lower: float | None, most: float) -> Markup:
    """Returns two bars, one above the other; None leaves the lower one out."""
    marks = [_box(0.0, upper, most, "second", 1.0, 6.0)]
    if lower is not None:
        marks.append(_box(0.0, lower, most, "first", 9.0, 6.0))
    return _strip(*marks)


def interval(
    share: Interval, low: float, high: float, *, reference: float | None = None
) -> Markup:
    """Returns a dot and its interval on an axis from `low` to `high`.

    Args:
        share: Of which.
        low: Value at the left edge.
        high: Value at the right one.
        reference: Value that a line marks.
    """

    def at(value: float) -> str:
        part = (value - low) / (high - low) if high > low else 0.5
        return f"{_WIDTH * min(max(part, 0.0), 1.0):.1f}"

    marks = []
    if reference is not None:
        path = f"M{at(reference)} 0V{_HEIGHT:.0f}"
        marks.append(element("path", d=path, class_="reference"))
    ends = f"M{at(share.low)} 8H{at(share.high)}"
    marks.append(element("path", d=ends, class_="whisker"))
    # A line of no length with round ends is a dot, however its cell is stretched.
    marks.append(element("path", d=f"M{at(share.estimate)} 8h0", class_="point"))
    return _strip(*marks)


def _strip(*marks: Markup) -> Markup:
    return element(
        "svg",
        *marks,
        viewBox=f"0 0 {_WIDTH:.0f} {_HEIGHT:.0f}",
        preserveAspectRatio="none",
        aria_hidden="true",
        class_="strip",
    )


def _box(
    start: float, end: float, most: float, class_: str, top: float, height: float
) -> Markup:
    left, right = (_WIDTH * value / most if most else 0.0 for value in (start, end))
    width = max(right - left, _LEAST) if end > start else 0.0
    return element(
        "rect",
        x=min(left, _WIDTH - width),
        y=top,
        width=width,
        height=height,
        class_=f"bar {class_}",
    )
