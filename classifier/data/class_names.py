"""Lists of class names; a label is an index into such a list."""

from __future__ import annotations

import collections
import io
import unicodedata
from collections.abc import Iterable, Sequence

from etils import epath

from stage import typed_json
from stage.typed_json import MAX_CLASS_NAME

#: Unicode's categories of characters that no class name may have: control characters,
#: halves of a character (bytes that are not UTF-8), separators of lines.
_REFUSED = {"Cc", "Cs", "Zl", "Zp"}


def read_class_names(path: str) -> tuple[str, ...]:
    """Returns the lines of a UTF-8 text file: two or more different class names."""
    names = read_lines(path)
    if len(names) < 2:
        raise ValueError(f"{path}: expected two or more names, one a line")
    if "" in names:
        raise ValueError(
            f"{path}: expected a name in each line, got none in line "
            f"{names.index('') + 1}: labels are numbers of lines"
        )
    check_class_names(names, path)
    return names


def read_lines(path: epath.PathLike) -> tuple[str, ...]:
    """Returns the lines of a UTF-8 text file without the blanks around them.

    A byte-order mark is no part of the first; empty ones at the end are left out.
    """
    content = io.BytesIO(typed_json.read_bytes(path))
    try:
        text = io.TextIOWrapper(content, encoding="utf-8-sig").read()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected UTF-8: {error}") from error
    return tuple(map(str.strip, text.rstrip().split("\n")))


def sort_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Returns the different labels in order: whole numbers by value, others by text."""
    different = set(labels)
    if not all(label.isascii() and label.isdecimal() for label in different):
        return tuple(sorted(different))
    # Compared as texts: Python makes no integers of thousands of digits.
    plain = {label: label.lstrip("0") for label in different}
    order = {label: (len(plain[label]), plain[label], label) for label in plain}
    return tuple(sorted(different, key=order.__getitem__))


def check_class_names(names: Sequence[str], what: str) -> None:
    """Raises ValueError unless a dataset can hold the names: TFDS has one a line."""
    for name in names:
        if len(name) > MAX_CLASS_NAME:
            raise ValueError(
                f"{what}: expected class names of at most {MAX_CLASS_NAME:,} "
                f"characters, got one of {len(name):,}"
            )
        if (
            not name
            or name != name.strip()
            or not _REFUSED.isdisjoint(map(unicodedata.category, name))
        ):
            raise ValueError(
                f"{what}: expected class names without blanks around them, without "
                f"line breaks and other control characters, and in UTF-8, got {name!r}"
            )
    ((name, count),) = collections.Counter(names).most_common(1) or [("", 0)]
    if count > 1:
        raise ValueError(f"{what}: expected different class names, got {name!r} twice")


def check_same_classes(expected: Iterable[str], got: Iterable[str], what: str) -> None:
    """Raises ValueError unless both lists hold the same names in the same order."""
    expected, got = list(expected), list(got)
    if len(expected) != len(got):
        found, known = set(got), set(expected)
        different = [f"no {name!r}" for name in expected if name not in found]
        different += [f"also {name!r}" for name in got if name not in known]
        words = [f"expected {len(expected)} classes, got {len(got)}", *different[:1]]
        raise ValueError(f"{what}: {', '.join(words)}")
    for label, (left, right) in enumerate(zip(expected, got, strict=True)):
        if left != right:
            raise ValueError(
                f"{what}: expected class {label} to be {left!r}, got {right!r}"
            )
