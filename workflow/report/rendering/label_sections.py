"""The sections of a report about labels: a finding in words, then its picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pseudo_label.selection.precision import Precision
from pseudo_label.selection.what_if import Cell
from workflow.report.analysis.figures import Figures
from workflow.report.analysis.metrics import (
    ClassPrecision,
    CoveragePoint,
    Interval,
    Reliability,
)
from workflow.report.analysis.round_figures import (
    ClassCount,
    Classes,
    Confidences,
    Judges,
    Missing,
    RoundFigures,
    WhatIf,
)
from workflow.report.rendering import charts, inline_charts
from workflow.report.rendering.components import (
    between,
    by_round,
    caption,
    details,
    ends,
    key,
    note,
    row_name,
    table,
)
from workflow.report.rendering.markup import Markup, element, join, name

_JUDGES = {
    "held_out": "labeled images that no teacher was trained on",
    "out_of_fold": "labeled images, each by the teachers that had left it out",
    "test": "the test images, which judge here but chose nothing",
}
#: Steps of the funnel between the images read and those kept.
_LOSSES = ("undecodable", "leaked", "duplicate", "below_threshold", "beyond_quota")
#: Between mean confidence and accuracy; of more, a teacher is called too sure.
_SURPLUS = 0.02
#: Bars of a confidence of 90 % and more.
_SURE = 0.9


def funnel(figures: Figures) -> Markup:
    """Returns where the images went, round by round."""
    return by_round(figures.rounds, lambda one: one.funnel, _funnel)


def _funnel(found: RoundFigures, counts: dict[str, int]) -> Markup:
    share = counts["unique_kept"] / max(1, counts["read"])
    finding = (
        f"Of {counts['read']:,} images {counts['unique_kept']:,} are kept ({share:.1%})"
    )
    if counts["copies"]:
        finding += f", with copies {counts['records']:,} records"
    rows = [
        (step.replace("_", " "), strip, count)
        for step, strip, count in _waterfall(counts)
    ]
    return join([caption(found.round, finding, "."), table(("", "", "images"), rows)])


def _waterfall(counts: dict[str, int]) -> Iterable[tuple[str, Markup, str]]:
    """Yields steps, each bar beginning where the one before has ended."""
    left, records = counts["read"], counts["records"]
    most = max(left, records)
    yield "read", inline_charts.bar(left, most), f"{left:,}"
    for step in _LOSSES:
        lost = counts.get(step, 0)
        strip = inline_charts.piece(left - lost, left, most, "hatched")
        yield step, strip, f"\N{MINUS SIGN}{lost:,}" if lost else "0"
        left -= lost
    yield "kept", inline_charts.bar(left, most), f"{left:,}"
    copies = inline_charts.piece(left, records, most, "second")
    yield "copies", copies, f"+{records - left:,}"
    yield "records", inline_charts.bar(records, most), f"{records:,}"


def reliability(figures: Figures) -> Markup:
    """Returns how often the teachers are right, by how sure they are."""
    return by_round(figures.rounds, lambda one: one.reliability, _reliability)


def _reliability(found: RoundFigures, drawn: Reliability) -> Markup:
    finding = "The teacher is about as often right as it is sure."
    if abs(drawn.surplus) > _SURPLUS:
        finding = (
            f"The teacher is too {'sure' if drawn.surplus > 0 else 'unsure'}, by "
            f"{100 * abs(drawn.surplus):.1f} points on average."
        )
    return join(
        [
            caption(found.round, finding),
            charts.reliability(drawn, name=f"reliability-{found.round}"),
            note(
                "On the dashed line it would be right as often as it is sure. Lines "
                "are 95% intervals; hollow dots are of fewer than "
                f"{charts.FEW} images. Expected calibration error {drawn.error:.1%}. ",
                _judged_by(found.judges),
            ),
        ]
    )


def confidences(figures: Figures) -> Markup:
    """Returns how sure the teachers are of all images."""
    is_bent = any(
        charts.is_steep(one.confidences.bars)
        for one in figures.rounds
        if not isinstance(one.confidences, Missing)
    )
    return by_round(
        figures.rounds,
        lambda one: one.confidences,
        lambda one, drawn: _confidences(one, drawn, is_bent),
    )


def _confidences(found: RoundFigures, drawn: Confidences, is_bent: bool) -> Markup:
    first = round(_SURE * len(drawn.bars))
    sure = sum(drawn.bars[first:]) / max(1, sum(drawn.bars))
    chart = charts.confidences(
        drawn, name=f"confidences-{found.round}", is_bent=is_bent
    )
    return join(
        [
            caption(
                found.round, f"Of {sure:.1%} of the images it is at least 90% sure."
            ),
            chart,
            note(
                "All images with a prediction; hatched: below any threshold.",
                " The scale is logarithmic." if is_bent else "",
            ),
        ]
    )


def classes(figures: Figures) -> Markup:
    """Returns the images of each class before and after the selection."""
    return by_round(figures.rounds, lambda one: one.classes, _classes)


def _classes(found: RoundFigures, drawn: Classes) -> Markup:
    most, least = drawn.ranks.unique[0], drawn.ranks.unique[-1]
    finding = f"Of {drawn.count:,} classes each keeps {least:,} to {most:,} images."
    if drawn.empty:
        finding = f"{drawn.empty:,} of {drawn.count:,} classes keep no image."
    if drawn.count == len(drawn.fewest):
        return join([caption(found.round, finding), _class_table(drawn.fewest)])
    title = f"The {len(drawn.fewest)} classes of which the fewest images are kept"
    return join(
        [
            caption(found.round, finding),
            charts.ranks(drawn.ranks, name=f"classes-{found.round}"),
            note("Each line has the classes in its own order."),
            details(title, _class_table(drawn.fewest)),
        ]
    )


def _class_table(counts: Sequence[ClassCount]) -> Markup:
    most = max(max(one.predicted or 0, one.records) for one in counts)
    return table(
        ("class", key("before", "after"), "before", "kept", "records"),
        [
            (
                row_name(one.name),
                inline_charts.pair(one.predicted or 0, one.records, most),
                "" if one.predicted is None else f"{one.predicted:,}",
                f"{one.unique:,}",
                f"{one.records:,}",
            )
            for one in counts
        ],
        minor={4},
    )


def class_precision(figures: Figures) -> Markup:
    """Returns the classes whose labels are most surely bad."""
    low = _lowest(figures)
    return by_round(
        figures.rounds,
        lambda one: one.class_precision,
        lambda one, rows: _precisions(one, rows, low),
    )


def _lowest(figures: Figures) -> float:
    """Returns the lower edge of what stands side by side."""
    return min(
        (
            one.precision.low
            for found in figures.rounds
            if not isinstance(found.class_precision, Missing)
            for one in found.class_precision
        ),
        default=0.0,
    )


def _precisions(
    found: RoundFigures, rows: Sequence[ClassPrecision], low: float
) -> Markup:
    worst = rows[0]
    count = f" The {len(rows)} worst of {found.judged_classes:,} classes."
    return join(
        [
            caption(
                found.round,
                "The worst class is ",
                name(worst.name),
                f": {_share(worst.precision)} of its labels are right.",
            ),
            table(
                ("class", ends(low, 1.0), "right", "95% interval"),
                [_precision(one, low) for one in rows],
                minor={3},
            ),
            note(
                _judged_by(found.judges),
                count if len(rows) < found.judged_classes else "",
            ),
        ]
    )


def _precision(one: ClassPrecision, low: float) -> tuple[str, ...]:
    found = one.precision
    share = Interval(estimate=found.estimate or 0.0, low=found.low, high=found.high)
    return (
        row_name(one.name),
        inline_charts.interval(share, low, 1.0),
        f"{share.estimate:.1%}",
        between(found.low, found.high),
    )


def coverage(figures: Figures) -> Markup:
    """Returns how precise the labels are, by how many images are kept."""
    rounds = figures.rounds
    curves = [one.coverage for one in rounds]
    kept = [one.kept for one in rounds]
    low = charts.lowest_precision(
        (one for one in curves if not isinstance(one, Missing)),
        (one for one in kept if not isinstance(one, Missing)),
    )
    return by_round(
        rounds,
        lambda one: one.coverage,
        lambda one, points: _coverage(one, points, low),
    )


def _coverage(
    found: RoundFigures, points: Sequence[CoveragePoint], low: float
) -> Markup:
    kept = None
    finding = "How many of the labels kept are right is not known."
    if not isinstance(found.kept, Missing) and found.kept_share is not None:
        kept = (found.kept_share, found.kept)
        finding = f"Of the labels kept {_share(found.kept)} are right."
    return join(
        [
            caption(found.round, finding),
            charts.coverage(points, kept, name=f"coverage-{found.round}", low=low),
            note(
                "The line is what one threshold for all classes would keep, with its "
                "95% interval. ",
                _judged_by(found.judges),
            ),
        ]
    )


def what_if(figures: Figures) -> Markup:
    """Returns what other settings would keep."""
    return by_round(figures.rounds, lambda one: one.what_if, _what_if)


def _what_if(found: RoundFigures, drawn: WhatIf) -> Markup:
    quota = drawn.images_per_class
    own = [cell for cell in drawn.cells if cell.images_per_class == quota]
    return join(
        [
            caption(
                found.round, f"At other thresholds, with {quota:,} images a class."
            ),
            _cells(own, drawn.threshold),
            details("With other numbers of images a class", _cells(drawn.cells, None)),
        ]
    )


def _cells(cells: Sequence[Cell], chosen: float | None) -> Markup:
    """Returns a table of what settings would keep, with the columns that differ."""
    heads = ["threshold", "a class", "kept", "copies", "empty", "labels right"]
    rows = [_cell(cell, chosen) for cell in cells]
    left_out = set()
    if len({cell.images_per_class for cell in cells}) == 1:
        left_out.add("a class")
    if all(cell.precision is None for cell in cells):
        left_out.add("labels right")
    shown = [head for head in heads if head not in left_out]
    return table(
        shown,
        [[row[heads.index(head)] for head in shown] for row in rows],
        minor={shown.index("copies")},
    )


def _cell(cell: Cell, chosen: float | None) -> tuple[str, ...]:
    threshold: str = f"{cell.confidence_threshold:.3g}"
    if chosen is not None and abs(cell.confidence_threshold - chosen) < 1e-6:
        threshold = element("strong", threshold, ", chosen")
    return (
        threshold,
        f"{cell.images_per_class:,}",
        f"{cell.unique:,}",
        f"{cell.copies:,}",
        f"{cell.empty_classes:,}",
        "" if cell.precision is None else _share(cell.precision),
    )


def _judged_by(judges: Judges | Missing) -> str:
    if isinstance(judges, Missing):
        return ""
    kind = _JUDGES.get(judges.kind, "labeled images")
    return f"Judged by {judges.images:,} images: {kind}."


def _share(found: Precision) -> str:
    if found.estimate is None:
        return "unknown"
    return f"{found.estimate:.1%} ({between(found.low, found.high)})"
