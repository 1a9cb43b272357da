"""The head of a report: whether the student is better, by how much, and why not."""

from __future__ import annotations

from collections.abc import Sequence

from workflow.report.analysis.diagnosis import LIKELY, UNKNOWN, UNLIKELY, Cause
from workflow.report.analysis.figures import Accuracy, Diagnosis, Figures, Gain
from workflow.report.analysis.verdict import tell_below
from workflow.report.rendering import inline_charts
from workflow.report.rendering.components import (
    between,
    caption,
    details,
    ends,
    note,
    signed,
    table,
)
from workflow.report.rendering.markup import Markup, element, join, name

_CAUSES = {
    "labels": "Wrong labels, or few",
    "fit": "Labels not learned",
    "noise": "Noise",
}
_STATES = {LIKELY: "likely", UNKNOWN: "not known", UNLIKELY: "within bounds"}


def verdict_section(figures: Figures) -> Markup:
    """Returns the verdict in a sentence, what it rests on, and why it is no better."""
    below = [
        _diagnosis(one, _gain_over(figures, one.round, one.below[0]))
        for one in figures.diagnoses
        if one.below
    ]
    within = [_causes(figures.diagnoses[-1].causes)] if not below else []
    return element(
        "section",
        element("h1", figures.headline, "."),
        element("p", _lede(figures), class_="lede"),
        _stopping(figures),
        element(
            "div",
            _accuracies(figures.accuracies),
            _gains(figures.gains),
            class_="grid",
        ),
        below,
        [details("Labels, fit and noise", one) for one in within],
        class_="verdict",
    )


def _lede(figures: Figures) -> str:
    control, teacher, *_, student = figures.accuracies
    over_teacher, over_control, *_ = figures.gains
    return (
        f"It gets {student.share.estimate:.2%} of {student.images:,} test images "
        f"right, the first teacher {teacher.share.estimate:.2%}; "
        f"{_tell_gain(over_teacher)}. "
        "The control, trained like the student but on the labeled images alone, gets "
        f"{control.share.estimate:.2%}; {_tell_gain(over_control)}."
    )


def _tell_gain(gain: Gain) -> str:
    is_certain = gain.share.low > 0 or gain.share.high < 0
    return f"the difference is {_range(gain)} points (95% interval)" + (
        "" if is_certain else ", which may be chance"
    )


def _range(gain: Gain) -> str:
    return f"{signed(100 * gain.share.low, 1)} to {signed(100 * gain.share.high, 1)}"


def _stopping(figures: Figures) -> Markup:
    found = figures.stopping
    if found is None:
        return join([])
    best = ""
    if found.best_round is not None:
        student = f"student {found.best_round}"
        best = student if found.best_round else "the first teacher"
        best = f"By the calibration images {best} is the best."
    why = ["No further round was begun: ", name(found.reason, 200), ". "]
    return element("p", why if found.reason else "", best)


def _accuracies(accuracies: Sequence[Accuracy]) -> Markup:
    low = min(one.share.low for one in accuracies)
    high = max(one.share.high for one in accuracies)
    teacher = accuracies[1].share.estimate
    rows = [
        (
            one.name,
            inline_charts.interval(one.share, low, high, reference=teacher),
            f"{one.share.estimate:.2%}",
            between(one.share.low, one.share.high),
        )
        for one in accuracies
    ]
    return element(
        "figure",
        caption(None, f"Accuracy on {accuracies[0].images:,} test images"),
        table(("", ends(low, high), "right", "95% interval"), rows),
        note(
            "Control and teacher know the labeled images alone; the control has the "
            "student's network, noise and steps. Dashed: the teacher."
        ),
    )


def _gains(gains: Sequence[Gain]) -> Markup:
    low = min(0.0, *(one.share.low for one in gains))
    high = max(0.0, *(one.share.high for one in gains))
    rows = [
        (
            join([one.name, " ", element("span", f"over {one.over}", class_="second")]),
            inline_charts.interval(one.share, low, high, reference=0.0),
            signed(100 * one.share.estimate, 2),
            _range(one) + ("" if one.paired else "*"),
        )
        for one in gains
    ]
    return element(
        "figure",
        caption(None, "Gains in points"),
        table(("", "", "points", "95% interval"), rows),
        note(_tell_pairing(gains)),
    )


def _tell_pairing(gains: Sequence[Gain]) -> str:
    dashed = "Dashed: no gain."
    if all(one.paired for one in gains):
        return f"{dashed} Compared image by image."
    return f"{dashed} *As if tested on different images: wider than it need be."


def _gain_over(figures: Figures, number: int, over: str) -> Gain:
    """Returns what the student of a round has gained over another classifier."""
    names = (f"student {number}", over)
    return next(one for one in figures.gains if (one.name, one.over) == names)


def _diagnosis(found: Diagnosis, gain: Gain) -> Markup:
    words = "What may have caused it by the figures, the likeliest first."
    if found.causes[0].state != LIKELY:
        words = "No figure is beyond its bound; what is nearest to it comes first."
    if gain.share.high >= 0:
        words += f" It may be chance: the interval is {_range(gain)} points."
    return element(
        "aside",
        element(
            "h2", f"Why student {found.round} ended below {tell_below(found.below)}"
        ),
        element("p", words),
        _causes(found.causes),
        class_="below",
    )


def _causes(causes: Sequence[Cause]) -> Markup:
    return element("ol", [_cause(one) for one in causes], class_="causes")


def _cause(cause: Cause) -> Markup:
    flags = [join([element("code", flag), " "]) for flag in cause.flags]
    state = element("span", _STATES[cause.state], class_=f"state {cause.state}")
    return element(
        "li",
        element(
            "p", element("strong", _CAUSES[cause.name]), " ", state, class_="cause"
        ),
        element("p", cause.finding, " ", element("b", cause.remedy)),
        element("p", flags) if flags else "",
    )
