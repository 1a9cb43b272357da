"""Lists of class names; a label is an index into such a list."""

from __future__ import annotations

from collections.abc import Iterable


def read_class_names(path: str) -> tuple[str, ...]:
    """Returns the lines of a UTF-8 text file: two or more different class names."""
    try:
        with open(path, encoding="utf-8") as file:
            names = tuple(line.strip() for line in file if line.strip())
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected UTF-8: {error}") from error
    if len(set(names)) != len(names) or len(names) < 2:
        raise ValueError(
            f"{path}: expected two or more different names, got {len(names)} lines "
            f"with {len(set(names))} different names"
        )
    return names


def check_same_classes(expected: Iterable[str], got: Iterable[str], what: str) -> None:
    """Raises ValueError unless both lists hold the same names in the same order."""
    expected, got = list(expected), list(got)
    if len(expected) != len(got):
        raise ValueError(f"{what}: expected {len(expected)} classes, got {len(got)}")
    for label, (left, right) in enumerate(zip(expected, got, strict=True)):
        if left != right:
            raise ValueError(
                f"{what}: expected class {label} to be {left!r}, got {right!r}"
            )
