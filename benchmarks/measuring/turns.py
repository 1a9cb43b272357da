"""Measurements side by side: turns, medians and ratios."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

Name = TypeVar("Name", bound=Hashable)
Way = TypeVar("Way")
#: What one turn reaches, by name of the figure.
Figures = Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Rounds(Generic[Name]):
    """Measurements of some ways.

    Attributes:
        turns: Figures by name of the way and by round.
    """

    turns: Mapping[Name, Sequence[Figures]]

    def all(self, figure: str) -> dict[Name, list[float]]:
        """Returns a figure of each way and round, rounded."""
        return {
            name: [round(turn[figure], 3) for turn in turns]
            for name, turns in self.turns.items()
        }

    def median(self, name: Name, figure: str) -> float:
        """Returns the median over the rounds."""
        return statistics.median(turn[figure] for turn in self.turns[name])

    def medians(self, figure: str) -> dict[Name, float]:
        """Returns the median of each way, rounded."""
        return {name: round(self.median(name, figure), 3) for name in self.turns}

    def ratio(self, numerator: Name, denominator: Name, figure: str) -> float:
        """Returns the median over the rounds of the ratio within a round."""
        pairs = zip(self.turns[numerator], self.turns[denominator], strict=True)
        return statistics.median(a[figure] / b[figure] for a, b in pairs)

    def best(
        self, names: Iterable[Name], figure: str, *, lowest: bool = False
    ) -> Name | None:
        """Returns the way with the highest median, or the lowest.

        Ways that were not measured are skipped; None if none was.
        """
        names = [name for name in names if name in self.turns]
        pick = min if lowest else max
        return pick(names, key=lambda name: self.median(name, figure), default=None)

    def table(self) -> Iterator[str]:
        """Yields the lines of a table of medians."""
        figures = list(next(iter(self.turns.values()))[0])
        yield f"{'':30}" + "".join(f"{figure:>{_width(figure)}}" for figure in figures)
        for name in self.turns:
            yield format_row(name, {f: self.median(name, f) for f in figures})


def format_row(name: object, figures: Figures) -> str:
    """Returns the figures of a way as a row of a table."""
    cells = (f"{value:{_width(key)},.5g}" for key, value in figures.items())
    return f"{name!s:30}" + "".join(cells)


def _width(figure: str) -> int:
    return max(10, len(figure)) + 2


def take_turns(
    ways: Mapping[Name, Way], measure: Callable[[Way], Figures], *, rounds: int
) -> Rounds[Name]:
    """Returns what each way reaches in each round.

    All ways have one turn per round, so a period in which the machine is slower
    affects all of them.
    """
    turns: dict[Name, list[Figures]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            turns[name].append(measure(way))
    return Rounds(turns)


def repeat(
    step: Callable[[], object],
    *,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[int, float]:
    """Calls `step` at least once and until the time is over.

    Returns:
        Number of calls, and the seconds that they took.
    """
    started, elapsed, count = clock(), 0.0, 0
    while elapsed < seconds or count == 0:
        step()
        count += 1
        elapsed = clock() - started
    return count, elapsed
