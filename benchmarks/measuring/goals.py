"""Figures beside their goals: lines of a table, and JSON."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any, NamedTuple

from benchmarks.measuring.turns import Rounds
from stage import cli

AT_MOST = "<="
AT_LEAST = ">="


class Verdict(NamedTuple):
    """A figure beside its goal.

    Attributes:
        name: Name of the figure, its key in the JSON.
        figure: Measured value.
        direction: `AT_MOST` or `AT_LEAST`.
        bound: The goal; None for a figure without one.
        exemption: Why the goal does not apply to this run; empty where it does.
    """

    name: str
    figure: float
    direction: str = AT_MOST
    bound: float | None = None
    exemption: str = ""

    def line(self) -> str:
        """Returns a row of the table."""
        reached = f"{self.name:30}{self.figure:9.3f}"
        if self.bound is None:
            return reached
        compare = operator.le if self.direction == AT_MOST else operator.ge
        is_met = compare(self.figure, self.bound)
        answer = self.exemption or ("yes" if is_met else "no")
        return f"{reached}   {self.direction} {self.bound:<7.4g}{answer}"


def at_most(name: str, figure: float, bound: float) -> Verdict:
    """Returns the verdict on a figure with an upper bound."""
    return Verdict(name, round(figure, 3), AT_MOST, bound)


def at_least(name: str, figure: float, bound: float) -> Verdict:
    """Returns the verdict on a figure with a lower bound."""
    return Verdict(name, round(figure, 3), AT_LEAST, bound)


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
