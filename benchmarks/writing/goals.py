"""What the writing job shall reach, and what it has reached, as a table."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.writing.runs import OURS, STOCK, Run


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A figure beside its goal.

    Attributes:
        name: Of the figure.
        figure: What was reached.
        goal: What was to be reached.
        is_least: Whether the goal is the least that will do, or the most.
    """

    name: str
    figure: float
    goal: float
    is_least: bool

    def line(self) -> str:
        """Returns a row of a table."""
        sign = ">=" if self.is_least else "<="
        is_met = self.figure >= self.goal if self.is_least else self.figure <= self.goal
        answer = "yes" if is_met else "no"
        return f"{self.name:24}{self.figure:8.3f}   {sign} {self.goal:<6g} {answer}"


def judge(
    rounds: Mapping[str, Sequence[Run]], small: Sequence[Run]
) -> Iterator[Verdict]:
    """Yields the verdicts on what was measured.

    Args:
        rounds: By way, turn by turn.
        small: Ours, with fewer images.
    """
    ours, stock = rounds[OURS], [rounds[way] for way in STOCK if way in rounds]
    if stock:
        fastest = max(stock, key=lambda turns: _median(turns).images_per_second)
        leanest = min(stock, key=lambda turns: _median(turns).megabytes)
        speed, whole = (
            statistics.median(
                getattr(one, figure) / getattr(other, figure)
                for one, other in zip(ours, fastest, strict=True)
            )
            for figure in ("images_per_second", "with_start")
        )
        memory = statistics.median(
            one.megabytes / other.megabytes
            for one, other in zip(ours, leanest, strict=True)
        )
        yield Verdict("ratio_to_stock", round(speed, 3), 2.0, is_least=True)
        yield Verdict("ratio_with_start", round(whole, 3), 2.0, is_least=True)
        yield Verdict("memory_ratio_to_stock", round(memory, 3), 0.2, is_least=False)
    growth = _median(ours).megabytes / _median(small).megabytes
    yield Verdict("memory_ratio_10x", round(growth, 3), 1.1, is_least=False)


def tell(
    rounds: Mapping[str, Sequence[Run]], verdicts: Sequence[Verdict]
) -> Iterator[str]:
    """Yields what was measured as tables."""
    yield f"\n{'':18}{'images/s':>10}{'start s':>9}{'MB':>10}{'with start':>12}"
    for way, turns in rounds.items():
        yield f"{way:18}{row(_median(turns))}"
    yield f"\n{'':24}{'reached':>8}   goal      met"
    for verdict in verdicts:
        yield verdict.line()


def figures(
    rounds: Mapping[str, Sequence[Run]], verdicts: Sequence[Verdict]
) -> dict[str, Any]:
    """Returns everything, for programs."""
    medians = {way: _median(turns) for way, turns in rounds.items()}
    return {
        "images_per_second": {w: round(m[0], 1) for w, m in medians.items()},
        "images_per_second_with_start": {w: round(m[3], 1) for w, m in medians.items()},
        "start_seconds": {w: round(m[1], 1) for w, m in medians.items()},
        "peak_memory_gb": {w: round(m[2] / 1000, 3) for w, m in medians.items()},
        "rounds": {
            way: [[round(figure, 1) for figure in run] for run in turns]
            for way, turns in rounds.items()
        },
        **{verdict.name: verdict.figure for verdict in verdicts},
    }


def _median(turns: Sequence[Run]) -> Run:
    return Run(*map(statistics.median, zip(*turns, strict=True)))


def row(run: Run) -> str:
    """Returns the figures of a run as columns."""
    speed, start, megabytes, whole = run
    return f"{speed:10.1f}{start:9.1f}{megabytes:10.0f}{whole:12.1f}"
