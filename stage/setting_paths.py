"""Nested settings as one level of paths, such as "optimizer.momentum"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def flatten(
    settings: Mapping[str, Any], prefix: str = "", *, keep_empty: bool = False
) -> Iterator[tuple[str, Any]]:
    """Yields the path and the value of each setting, in order.

    Args:
        settings: Settings by name; a mapping is a group of settings.
        prefix: What each path begins with.
        keep_empty: Whether to yield a group without settings, too.
    """
    for name, value in settings.items():
        path = prefix + name
        if isinstance(value, Mapping) and (value or not keep_empty):
            yield from flatten(value, f"{path}.", keep_empty=keep_empty)
        else:
            yield path, value
