"""Figures compared with their goals: lines of a table, and JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from benchmarks.measuring.turns import Rounds
from stage import cli


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A figure and its goal.

    Attributes:
        name: Name of the figure, its key in the JSON.
        figure: Measured value, rounded to three decimals.
        at_least: Lower bound; None if there is none.
        at_most: Upper bound; None if there is none, or if there is a lower one.
        exemption: Why the goal does not apply to this run; empty where it does.
    """

    name: str
    figure: float
    at_least: float | None = None
    at_most: float | None = None
    exemption: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "figure", round(self.figure, 3))

    def line(self) -> str:
        """Returns a row of the table."""
        reached = f"{self.name:30}{self.figure:9.3f}"
        if self.at_least is not None:
            goal = f"   >= {self.at_least:<7.4g}"
            is_met = self.figure >= self.at_least
        elif self.at_most is not None:
            goal = f"   <= {self.at_most:<7.4g}"
            is_met = self.figure <= self.at_most
        else:
            return reached
        return reached + goal + (self.exemption or ("yes" if is_met else "no"))


def log_tables(rounds: Rounds[Any], verdicts: Iterable[Verdict]) -> None:
    """Prints a table of medians, and one of verdicts."""
    for line in rounds.table():
        cli.log(line)
    cli.log(f"\n{'':30}{'reached':>9}   goal      met")
    for verdict in verdicts:
        cli.log(verdict.line())


def as_json(verdicts: Iterable[Verdict]) -> dict[str, float]:
    """Returns the figures by name."""
    return {verdict.name: verdict.figure for verdict in verdicts}
