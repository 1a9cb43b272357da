"""The sections of a report about training, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence

from workflow.report.analysis.figures import Figures
from workflow.report.analysis.learning_curves import (
    EVALUATION,
    LOSS,
    UNDER_NOISE,
    Series,
)
from workflow.report.analysis.metrics import Confusion
from workflow.report.analysis.prediction_counts import Churn
from workflow.report.analysis.round_figures import Missing
from workflow.report.rendering import charts, inline_charts
from workflow.report.rendering.components import (
    caption,
    key,
    note,
    row_name,
    table,
    tell_missing,
)
from workflow.report.rendering.markup import Markup, element, join, name


def learning(figures: Figures) -> Markup:
    """Returns the learning curves."""
    last = len(figures.rounds)
    runs = {f"student {number}": f"student {number}" for number in (last, last - 1)}
    for one in figures.learning:
        if one.run.startswith("teacher"):
            runs[one.run] = "teachers"
    runs["control"] = "control"
    accuracy, loss = (
        [
            Series(run=runs[run], metric=metric, points=one.points)
            for run in runs
            for one in figures.learning
            if one.run == run and one.metric == metric
        ]
        for metric in (EVALUATION, LOSS)
    )
    drawn = [
        _curves(accuracy, "accuracy", "Accuracy on the test images", "right"),
        _curves(loss, "loss", "Loss on the training images", "loss, in nats"),
        _curves(
            _under_noise(figures, f"student {last}"),
            "noise",
            f"Noised images, student {last}",
            "right",
        ),
    ]
    return element("div", drawn, class_="grid three")


def _under_noise(figures: Figures, run: str) -> list[Series]:
    """Returns how a student does on what it learns from, by kind if that is known."""
    names = dict(
        zip(UNDER_NOISE, ("pseudo-labeled", "labeled", "all images"), strict=True)
    )
    found = [
        Series(run=names[one.metric], metric=one.metric, points=one.points)
        for one in figures.learning
        if one.run == run and one.metric in names
    ]
    told_apart = [one for one in found if one.run != "all images"]
    return sorted(told_apart or found, key=lambda one: UNDER_NOISE.index(one.metric))


def _curves(series: Sequence[Series], slug: str, title: str, y_name: str) -> Markup:
    if not series:
        return element("figure", caption(None, title), note("Nothing was written."))
    chart = charts.learning(series, name=f"learning-{slug}", title=title, y_name=y_name)
    return element("figure", caption(None, title), chart)


def confusions(figures: Figures) -> Markup:
    """Returns which classes are taken for which."""
    found = figures.confusions
    if isinstance(found, Missing):
        return tell_missing(found)
    if not found:
        return note("No test image is taken for another class.")
    most = max(max(one.teacher, one.student or 0) for one in found)
    student = f"student {len(figures.rounds)}"
    return element(
        "figure",
        caption(
            None,
            "Most often ",
            name(found[0].name),
            " is taken for ",
            name(found[0].taken_for),
            ".",
        ),
        table(
            ("class", "taken for", key("teacher", student), "teacher", student, "of"),
            [_confusion(one, most) for one in found],
            minor={3, 4},
        ),
        note("Test images, and how many there are of the class."),
        class_="wide",
    )


def _confusion(one: Confusion, most: int) -> tuple[str, ...]:
    return (
        row_name(one.name),
        row_name(one.taken_for),
        inline_charts.pair(one.teacher, one.student, most),
        f"{one.teacher:,}",
        "" if one.student is None else f"{one.student:,}",
        f"{one.of:,}",
    )


def churn(figures: Figures) -> Markup:
    """Returns how many images each teacher takes for something else than the last."""
    rows = [one.churn for one in figures.rounds if one.churn is not None]
    if not rows:
        return note("There is one round, and nothing to compare it with.")
    parts: list[Markup] = [
        tell_missing(one) for one in rows if isinstance(one, Missing)
    ]
    known = [one for one in rows if not isinstance(one, Missing)]
    if known:
        parts.append(_churn(known))
    return element("figure", parts, class_="wide")


def _churn(rows: Sequence[Churn]) -> Markup:
    shares = [
        (one, one.changed / max(1, one.images), one.kept_changed / max(1, one.kept))
        for one in rows
    ]
    most = max(max(of_all, of_kept) for _, of_all, of_kept in shares) or 1.0
    last, of_all, of_kept = shares[-1]
    return join(
        [
            caption(
                None,
                f"The teacher of round {last.round} takes {of_all:.1%} of all images "
                f"for something else, and {of_kept:.1%} of those kept before.",
            ),
            table(
                ("rounds", key("all", "kept before"), "all", "kept before"),
                [
                    (
                        f"{one.round - 1} to {one.round}",
                        inline_charts.pair(of_all, of_kept, most),
                        f"{of_all:.1%}",
                        f"{of_kept:.1%}",
                    )
                    for one, of_all, of_kept in shares
                ],
            ),
        ]
    )
