"""What the sections of a report are built of: figures, tables, notes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TypeVar

from workflow.report.analysis.round_figures import Missing, RoundFigures
from workflow.report.rendering.markup import Markup, element, join, name

#: Rounds that stand open; older ones can be opened.
_OPEN = 2
#: Names of rows leave room for a picture; on a telephone the style sheet cuts more.
ROW_COLUMNS = 22
_REASON_COLUMNS = 300

T = TypeVar("T")


def by_round(
    rounds: Sequence[RoundFigures],
    pick: Callable[[RoundFigures], T | Missing],
    draw: Callable[[RoundFigures, T], Markup],
) -> Markup:
    """Returns a figure for each round: the last ones open, older ones to be opened.

    Args:
        rounds: All of the run.
        pick: Takes out of a round what is to be drawn.
        draw: Draws it.
    """
    found = [pick(one) for one in rounds]
    missing = [one for one in found if isinstance(one, Missing)]
    if len(missing) == len(rounds):
        return tell_missing(missing[0])
    drawn = [
        _not_known(one, what) if isinstance(what, Missing) else draw(one, what)
        for one, what in zip(rounds, found, strict=True)
    ]
    figures = [element("figure", content) for content in drawn]
    older = [
        details(f"Round {one.round}", figure)
        for one, figure in zip(rounds[:-_OPEN], figures[:-_OPEN], strict=True)
    ]
    return join([element("div", figures[-_OPEN:], class_="grid"), *older])


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    minor: Collection[int] = (),
) -> Markup:
    """Returns a table whose first column names the rows.

    Args:
        heads: Of the columns.
        rows: Their cells; what is no markup is set as a number.
        minor: Columns that a telephone leaves out: a picture says the same.
    """
    kinds = ["name", *(_kind(cell) for cell in rows[0][1:])] if rows else []
    classes = [
        f"{kind} minor" if column in minor else kind
        for column, kind in enumerate(kinds)
    ]
    head = [
        element("th", one, scope="col", class_=class_)
        if one
        else element("td", class_=class_)
        for one, class_ in zip(heads, classes, strict=True)
    ]
    body = [element("tr", _cells(row, classes)) for row in rows]
    grid = element(
        "table",
        element("thead", element("tr", head)),
        element("tbody", body),
    )
    return element("div", grid, class_="scroll")


def _cells(row: Sequence[str], classes: Sequence[str]) -> Iterable[Markup]:
    yield element("th", row[0], scope="row", class_=classes[0])
    for cell, class_ in zip(row[1:], classes[1:], strict=True):
        yield element("td", cell, class_=class_)


def _kind(cell: str) -> str:
    if not isinstance(cell, Markup):
        return "number"
    return "picture" if cell.startswith("<svg") else "text"


def caption(number: int | None, *finding: str) -> Markup:
    """Returns what stands above a figure: the round, and what it says."""
    above = element("span", f"Round {number}", class_="over") if number else ""
    return element("figcaption", above, element("strong", *finding))


def note(*text: str) -> Markup:
    """Returns how a figure is to be read."""
    return element("p", *text, class_="note")


def details(title: str, *content: Markup) -> Markup:
    """Returns what can be opened."""
    return element("details", element("summary", title), *content)


def key(upper: str, lower: str) -> Markup:
    """Returns which of two bars is which, for the head of their column."""
    return join(
        [
            element("span", upper, class_="key second"),
            " ",
            element("span", lower, class_="key first"),
        ]
    )


def ends(low: float, high: float) -> Markup:
    """Returns the ends of an axis, for the head of its column."""
    return element(
        "span",
        element("span", f"{low:.0%}"),
        element("span", f"{high:.0%}"),
        class_="ends",
    )


def row_name(text: str) -> Markup:
    """Returns a name from outside, as short as the rows of a table need it."""
    return name(text, ROW_COLUMNS)


def between(low: float, high: float) -> str:
    """Returns an interval of shares, in percent."""
    return f"{100 * low:.1f}\N{EN DASH}{100 * high:.1f}"


def signed(value: float, decimals: int) -> str:
    """Returns a number with its sign, as print sets it."""
    return f"{value:+.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def tell_missing(found: Missing) -> Markup:
    """Returns why something is not there, and what makes it."""
    command = [element("code", found.command), " makes it."] if found.command else []
    return note(name(found.reason, _REASON_COLUMNS), " ", *command)


def _not_known(found: RoundFigures, missing: Missing) -> Markup:
    return join([caption(found.round, "Not known."), tell_missing(missing)])
