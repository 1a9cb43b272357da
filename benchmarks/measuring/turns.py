"""Measuring side by side."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)
Way = TypeVar("Way")
Figure = TypeVar("Figure")


def take_turns(
    ways: Mapping[Name, Way], measure: Callable[[Way], Figure], *, rounds: int
) -> dict[Name, list[Figure]]:
    """Returns what each way reaches in each round.

    Turns of one round are neighbors: what slows the machine down for a while, slows
    down all of them.
    """
    figures: dict[Name, list[Figure]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            figures[name].append(measure(way))
    return figures
