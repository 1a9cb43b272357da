"""Text and numbers as a page shows them: one line, a known width, no hidden marks."""

from __future__ import annotations

import itertools
import unicodedata

from stage.text import printable

#: Width of a name, in columns of a Latin letter.
NAME_COLUMNS = 28
#: Width of its tooltip.
TOOLTIP_COLUMNS = 400


def shorten(value: str, columns: int = NAME_COLUMNS) -> str:
    """Returns the text on one line, cut with an ellipsis if wider than `columns`."""
    line = printable(" ".join(value[: 4 * TOOLTIP_COLUMNS].split()))
    widths = [_width(character) for character in line]
    if len(value) <= 4 * TOOLTIP_COLUMNS and sum(widths) <= columns:
        return line
    end = sum(total < columns for total in itertools.accumulate(widths))
    return line[:end].rstrip() + "…"


def coordinate(value: float) -> str:
    """Returns a coordinate of a drawing, rounded to a tenth of a unit."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def count(value: float) -> str:
    """Returns a count with separators: 1,300."""
    return f"{value:,.0f}"


def percent(share: float, decimals: int = 1) -> str:
    """Returns a share in percent: 12.5%."""
    return f"{share:.{decimals}%}"


def between(low: float, high: float) -> str:
    """Returns an interval of shares in percent, without the sign: 12.5-14.0."""
    return f"{100 * low:.1f}\N{EN DASH}{100 * high:.1f}"


def points(share: float, decimals: int = 1) -> str:
    """Returns a difference of shares in percentage points, with its sign."""
    return f"{100 * share:+.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def _width(character: str) -> int:
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
