r"""Text from outside, such as names of files and classes, on a terminal or a page.

Control characters can command a terminal, marks of direction rearrange a line, and
separators begin another. They are shown as \x1b, \u202e and so on, by what everything
passes on its way: `stage.streams`, `stage.cli`, the dataset's card, the report's page.
Files of data keep names as they are.
"""

from __future__ import annotations

import re
from collections.abc import Sized

#: Control characters, surrogates (which UTF-8 cannot encode), separators of lines, the
#: marks of Unicode's bidirectional algorithm (UAX #9), and what has no width.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\ud800-\udfff\u061c\u180e\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def printable(text: str) -> str:
    r"""Returns text in which nothing is hidden, as one line.

    An escape is \n, \xNN, \uNNNN or \UNNNNNNNN; a backslash of the text is left alone.
    """
    return _HIDDEN.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def printable_lines(text: str) -> str:
    """Returns text in which nothing is hidden but its line feeds."""
    return "\n".join(map(printable, text.split("\n")))


def and_more(names: Sized) -> str:
    """Returns how many names follow the first one, as " and 3 more"; "" for none."""
    return f" and {len(names) - 1:,} more" if len(names) > 1 else ""
