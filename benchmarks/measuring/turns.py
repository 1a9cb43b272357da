"""Measurements side by side: turns, medians and ratios."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeAlias, TypeVar

#: A way that is measured, by name.
Way = TypeVar("Way", bound=Hashable)
#: Figures of one turn, by name.
Figures: TypeAlias = Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Rounds(Generic[Way]):
    """Figures by way and by round."""

    turns: Mapping[Way, Sequence[Figures]]

    def all(self, figure: str) -> dict[Way, list[float]]:
        """Returns a figure of each way and round, rounded."""
        return {
            way: [round(turn[figure], 3) for turn in turns]
            for way, turns in self.turns.items()
        }

    def median(self, way: Way, figure: str) -> float:
        """Returns the median over the rounds."""
        return statistics.median(turn[figure] for turn in self.turns[way])

    def medians(self, figure: str) -> dict[Way, float]:
        """Returns the median of each way, rounded."""
        return {way: round(self.median(way, figure), 3) for way in self.turns}

    def ratio(self, numerator: Way, denominator: Way, figure: str) -> float:
        """Returns the median over the rounds of the ratio within a round."""
        pairs = zip(self.turns[numerator], self.turns[denominator], strict=True)
        return statistics.median(a[figure] / b[figure] for a, b in pairs)

    def best(
        self, ways: Iterable[Way], figure: str, *, lowest: bool = False
    ) -> Way | None:
        """Returns the way with the highest median, or the lowest.

        Ways that were not measured are skipped; None if none was.
        """
        measured = [way for way in ways if way in self.turns]
        pick = min if lowest else max
        return pick(measured, key=lambda way: self.median(way, figure), default=None)

    def table(self) -> Iterator[str]:
        """Yields the lines of a table of medians."""
        figures = list(next(iter(self.turns.values()))[0])
        yield f"{'':30}" + "".join(f"{figure:>{_width(figure)}}" for figure in figures)
        for way in self.turns:
            yield format_row(way, {f: self.median(way, f) for f in figures})


def format_row(way: object, figures: Figures) -> str:
    """Returns the figures of a way as a row of a table."""
    cells = (f"{value:{_width(key)},.5g}" for key, value in figures.items())
    return f"{way!s:30}" + "".join(cells)


def _width(figure: str) -> int:
    return max(10, len(figure)) + 2


def take_turns(
    ways: Iterable[Way], measure: Callable[[Way], Figures], *, rounds: int
) -> Rounds[Way]:
    """Returns the figures of each way in each round.

    All ways have one turn per round, so a period in which the machine is slower
    affects all of them.
    """
    turns: dict[Way, list[Figures]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way in turns:
            turns[way].append(measure(way))
    return Rounds(turns)


def repeat(
    step: Callable[[], object],
    *,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[int, float]:
    """Calls `step` at least once, and until `seconds` have passed.

    Returns the number of calls, and the seconds that they took.
    """
    started, elapsed, count = clock(), 0.0, 0
    while elapsed < seconds or count == 0:
        step()
        count += 1
        elapsed = clock() - started
    return count, elapsed
