"""A plot of accuracy against multiply-adds, as an SVG file of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape, quoteattr

from benchmarks.methods.tables import Mean
from workflow.report.rendering.marks import (
    Axis,
    Mark,
    axis_percent,
    dot,
    end_labels,
    grid,
    line,
    ticks,
)

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 640.0, 400.0, 52.0, 130.0, 31.0, 44.0
#: Color and dashes of each method's line: no two have the same dashes in a row.
_COLORS = ("#0b62a8", "#b4540a", "#2a7a2a", "#8a2a8a", "#a01830", "#444444")
_DASHES = ("none", "7 3", "2 3")
_STYLE = """
text { font: 12px sans-serif; fill: #222; }
.end { text-anchor: end; } .middle { text-anchor: middle; }
.grid { stroke: #ddd; } .axis { stroke: #888; } path { stroke-width: 1.8; }
"""


def draw(means: Sequence[Mean]) -> str:
    """Returns the plot: the compute axis is logarithmic, whiskers are 95 % intervals.

    A method without training is a horizontal line.
    """
    trained = [mean.multiply_adds for mean in means if mean.budget]
    ends = [v for m in means for v in (m.mean, m.low, m.high) if v is not None]
    low, high = min(trained, default=1.0), max(trained, default=1.0)
    if low == high:
        low, high = low / 2, high * 2
    x = Axis(
        low=low,
        high=high,
        start=_LEFT,
        end=_WIDTH - _RIGHT,
        ticks=_ticks(means),
        format=lambda value: f"{value:.2g}",
        scale=math.log,
    )
    bottom = max(0.0, math.floor(20 * min(ends)) / 20)
    top = min(1.0, math.ceil(20 * max(ends)) / 20)
    y = Axis(
        low=bottom,
        high=top,
        start=_HEIGHT - _BOTTOM,
        end=_TOP,
        ticks=ticks(bottom, top),
        format=axis_percent,
    )
    marks = [
        *grid(x, y, x_name="multiply-adds", y_name="accuracy"),
        *_curves(means, x, y),
    ]
    return _svg(marks, _classes(means))


def _ticks(means: Sequence[Mean]) -> tuple[float, ...]:
    """Returns the most multiply-adds at each budget: methods differ by a step's."""
    most: dict[float, float] = {}
    for mean in means:
        if mean.budget:
            most[mean.budget] = max(mean.multiply_adds, most.get(mean.budget, 0.0))
    return tuple(sorted(most.values()))


def _classes(means: Sequence[Mean]) -> dict[str, str]:
    names = dict.fromkeys(mean.method for mean in means)
    return {name: f"m{number}" for number, name in enumerate(names)}


def _curves(means: Sequence[Mean], x: Axis, y: Axis) -> Iterator[Mark]:
    ends = []
    for name, class_ in _classes(means).items():
        own = sorted(
            (mean for mean in means if mean.method == name),
            key=lambda mean: mean.multiply_adds,
        )
        points = [(x(max(mean.multiply_adds, x.low)), y(mean.mean)) for mean in own]
        if not own[-1].budget:
            points.append((x.end, points[-1][1]))
        yield line(points, class_)
        for mean, (at, height) in zip(own, points, strict=False):
            if mean.low is not None and mean.high is not None and mean.budget:
                yield line([(at, y(mean.low)), (at, y(mean.high))], class_)
            yield dot((at, height), 3, class_)
        ends.append((name, points[-1], class_))
    yield from end_labels(ends, top=y.end, bottom=y.start)


def _svg(marks: Sequence[Mark], classes: dict[str, str]) -> str:
    rules = []
    for number, class_ in enumerate(classes.values()):
        color = _COLORS[number % len(_COLORS)]
        dashes = _DASHES[number // len(_COLORS) % len(_DASHES)]
        rules.append(
            f"path.{class_} {{ stroke: {color}; stroke-dasharray: {dashes}; }}"
        )
        rules.append(f"circle.{class_}, text.{class_} {{ fill: {color}; }}")
    body = "\n".join(_element(mark) for mark in marks)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" '
        f'viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}">\n'
        f"<style>{_STYLE}{' '.join(rules)}</style>\n"
        f'<rect width="100%" height="100%" fill="#fff"/>\n{body}\n</svg>\n'
    )


def _element(mark: Mark) -> str:
    attributes = "".join(
        f" {name}={quoteattr(value)}" for name, value in mark.attributes.items()
    )
    return f"<{mark.tag}{attributes}>{escape(mark.text)}</{mark.tag}>"
