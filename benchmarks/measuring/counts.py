"""Numbers on the command line of a benchmark."""

from __future__ import annotations


def parse_counts(flag: str, text: str) -> list[int]:
    """Returns the positive numbers of a flag, which has commas between.

    Raises ValueError for anything else.
    """
    return [_parse(flag, part) for part in text.split(",")]


def _parse(flag: str, text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{flag}: expected positive numbers, got {text!r}")
    return int(text)
