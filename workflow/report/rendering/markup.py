"""HTML and SVG out of pure functions: what is not markup already is escaped.

Names of classes, keys and reasons come from whoever made the images. As `element`
escapes every child and attribute that is not itself the work of `element`, there is no
place where escaping one could be forgotten.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable

#: Elements of HTML that have neither content nor an end.
_VOID = frozenset({"meta", "link", "br", "img", "col"})
#: Marks that turn the direction of reading for what follows, and so could rearrange a
#: line: those of Unicode's bidirectional algorithm (UAX #9).
_TURNING = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
#: Widths, in columns of a Latin letter, that a name is cut to, and its tooltip.
NAME_COLUMNS = 28
_TOOLTIP_COLUMNS = 400


class Markup(str):
    """Text that is HTML or SVG already."""

    __slots__ = ()


def escape(value: str) -> Markup:
    """Returns a text that a page shows as it is.

    What could not be seen but act, as control characters and marks that turn the
    direction of reading, is replaced by a sign that can.
    """
    if not value.isascii() or not value.isprintable():
        value = "".join(_REPLACEMENT if _is_acting(c) else c for c in value)
    return Markup(html.escape(value))


def element(
    tag: str,
    *children: str | Iterable[str],
    **attributes: str | float | bool | None,
) -> Markup:
    """Returns an element of a page.

    Args:
        tag: Its name.
        *children: `Markup` stays as it is, other text is escaped; also several at once.
        **attributes: `stroke_width` stands for `stroke-width`, and `class_` for
            `class`. None and False leave one out, True gives it no value.
    """
    head = "".join(_attribute(name, value) for name, value in attributes.items())
    if tag in _VOID:
        return Markup(f"<{tag}{head}>")
    return Markup(f"<{tag}{head}>{join(children)}</{tag}>")


def join(children: Iterable[str | Iterable[str]]) -> Markup:
    """Returns children one behind the other, escaped unless they are markup."""
    return Markup("".join(map(_child, children)))


def shorten(value: str, columns: int = NAME_COLUMNS) -> str:
    """Returns a text on one line, its end left out where it is wider than that."""
    line = " ".join(value[: 4 * _TOOLTIP_COLUMNS].split())
    widths = [_columns(character) for character in line]
    if len(value) <= 4 * _TOOLTIP_COLUMNS and sum(widths) <= columns:
        return line
    end = taken = 0
    while end < len(line) and taken + widths[end] < columns:
        taken += widths[end]
        end += 1
    return line[:end].rstrip() + "…"


def name(value: str, columns: int = NAME_COLUMNS) -> Markup:
    """Returns a name from outside, short; what is left out shows on pointing at it.

    Within `bdi` its direction does not touch its surroundings.
    """
    short = shorten(value, columns)
    is_cut = short != " ".join(value.split())
    title = shorten(value, _TOOLTIP_COLUMNS) if is_cut else None
    return element("bdi", short or "(empty)", title=title)


def number(value: float) -> str:
    """Returns a coordinate: a tenth of a unit is less than the eye sees."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def _child(child: str | Iterable[str]) -> str:
    if isinstance(child, Markup):
        return child
    return escape(child) if isinstance(child, str) else join(child)


def _attribute(name: str, value: str | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    text = value if isinstance(value, str) else number(value)
    return f' {name}="{escape(text)}"'


def _is_acting(character: str) -> bool:
    # Cc: control characters; Cs: halves of a character, which UTF-8 cannot hold.
    is_control = unicodedata.category(character) in ("Cc", "Cs")
    return character in _TURNING or (is_control and character not in "\n\t")


def _columns(character: str) -> int:
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
