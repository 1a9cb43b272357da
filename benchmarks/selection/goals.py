"""What selecting has to reach, against what: arithmetic and words, no measuring."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from benchmarks.selection.runs import Run
from benchmarks.selection.task import OURS

#: What some goals are asked at: with fewer rows the start is most of ours.
FULL_ROWS = 130_000_000
#: Of the small run that tells what the start is.
START_ROWS = 10_000
#: Seconds more than the start that a tenth of the rows must take to be told from it.
TELLING_SECONDS = 0.5
#: The same by different means; the fastest is the yardstick.
DUCKDB = ("duckdb", "duckdb_with_key")
TOP = ("top", "top_processes")
SCAN = ("scan",)


class Case(NamedTuple):
    """A way, and how many rows it selects from."""

    way: str
    rows: int


class Goal(NamedTuple):
    """What a figure is to be.

    Attributes:
        bound: Of the figure.
        is_most: Whether the figure is to be at most that, or at least.
        is_full: Whether that is asked at `FULL_ROWS` alone.
    """

    bound: float
    is_most: bool
    is_full: bool = False


GOALS = {
    "seconds": Goal(15.0, is_most=True, is_full=True),
    "peak_memory_gb": Goal(1.0, is_most=True),
    "ratio_to_duckdb": Goal(2.0, is_most=False, is_full=True),
    "memory_ratio_to_duckdb": Goal(0.5, is_most=True, is_full=True),
    "ratio_to_top": Goal(10.0, is_most=False, is_full=True),
    "memory_ratio_10x": Goal(1.1, is_most=True),
    "seconds_ratio_10x": Goal(12.0, is_most=True),
}


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How many rows are selected from.

    Attributes:
        rows: By ours, and by all that can.
        top_rows: By Beam's Top.
    """

    rows: int
    top_rows: int

    @property
    def tenth(self) -> int:
        """Rows that memory and seconds are compared with."""
        return self.rows // 10

    def cases(self, ways: Iterable[str]) -> list[Case]:
        """Returns what is measured, each case once, of ours and some other ways."""
        cases = [Case(OURS, rows) for rows in (self.rows, self.tenth, self.top_rows)]
        for way in ways:
            cases.append(Case(way, self.top_rows if way in TOP else self.rows))
        cases += [Case(way, START_ROWS) for way in dict(cases)]
        return list(dict.fromkeys(cases))


@dataclasses.dataclass(frozen=True)
class Table:
    """What was measured.

    Attributes:
        sizes: Rows that were selected from.
        rounds: Runs by case, round by round.
    """

    sizes: Sizes
    rounds: Mapping[Case, Sequence[Run]]

    def median(self, case: Case) -> Run:
        """Returns the medians over the rounds."""
        figures = zip(*(run[:3] for run in self.rounds[case]), strict=True)
        return Run(*map(statistics.median, figures))

    def start_seconds(self, way: str) -> float:
        """Returns what a way takes for next to no rows."""
        return self.median(Case(way, START_ROWS)).seconds

    def work_seconds(self, case: Case) -> float:
        """Returns what the rows take: without the start."""
        return self.median(case).seconds - self.start_seconds(case.way)

    def figures(self) -> dict[str, float]:
        """Returns every figure of ours, rounded."""
        sizes = self.sizes
        ours, tenth = Case(OURS, sizes.rows), Case(OURS, sizes.tenth)
        start = self.start_seconds(OURS)
        found = {
            "seconds": self.median(ours).seconds,
            "start_seconds": start,
            "peak_memory_gb": self.median(ours).peak_gb,
            "memory_ratio_10x": self._ratio(ours, tenth, _memory),
            **self._beside_duckdb(ours),
            **self._beside_top(ours),
            **self._beside_scan(ours),
        }
        if self.work_seconds(tenth) >= TELLING_SECONDS:
            ratio = self.work_seconds(ours) / self.work_seconds(tenth)
            found["seconds_ratio_10x"] = ratio
        return {name: round(figure, 3) for name, figure in found.items()}

    def fastest(self, ways: Sequence[str], rows: int) -> Case | None:
        """Returns the case of the fastest of some ways, None if none was measured."""
        cases = [Case(way, rows) for way in ways if Case(way, rows) in self.rounds]
        return min(cases, key=lambda case: self.median(case).seconds, default=None)

    def _beside_duckdb(self, ours: Case) -> dict[str, float]:
        peer = self.fastest(DUCKDB, ours.rows)
        if peer is None:
            return {}
        after_start = self.work_seconds(peer) / self.work_seconds(ours)
        return {
            "ratio_to_duckdb": self._ratio(peer, ours, _seconds),
            "ratio_to_duckdb_after_start": after_start,
            "memory_ratio_to_duckdb": self._ratio(ours, peer, _memory),
        }

    def _beside_top(self, ours: Case) -> dict[str, float]:
        peer = self.fastest(TOP, self.sizes.top_rows)
        if peer is None:
            return {}
        times = ours.rows / peer.rows
        after_start = self.work_seconds(peer) / self.work_seconds(ours) * times
        equal = Case(OURS, peer.rows)
        return {
            "ratio_to_top": self._ratio(peer, ours, _seconds) * times,
            "ratio_to_top_after_start": after_start,
            "ratio_to_top_at_equal_rows": self._ratio(peer, equal, _seconds),
        }

    def _beside_scan(self, ours: Case) -> dict[str, float]:
        peer = self.fastest(SCAN, ours.rows)
        if peer is None:
            return {}
        return {"ratio_to_scan": self._ratio(peer, ours, _seconds)}

    def _ratio(self, one: Case, other: Case, of: Callable[[Run], float]) -> float:
        """Returns the median of the rounds' ratios."""
        pairs = zip(self.rounds[one], self.rounds[other], strict=True)
        return statistics.median(of(a) / of(b) for a, b in pairs)


def line(name: str, figure: float, *, rows: int) -> str:
    """Returns a figure as a row of a table, beside its goal where it has one."""
    reached = f"{name:28}{figure:9.3f}"
    if name not in GOALS:
        return reached
    goal = GOALS[name]
    sign = "<=" if goal.is_most else ">="
    return f"{reached}   {sign} {goal.bound:<6.4g}{answer(name, figure, rows=rows)}"


def answer(name: str, figure: float, *, rows: int) -> str:
    """Returns whether a goal is met, or at how many rows it is asked."""
    goal = GOALS[name]
    if goal.is_full and rows < FULL_ROWS:
        return f"asked at {FULL_ROWS:,} rows"
    is_met = figure <= goal.bound if goal.is_most else figure >= goal.bound
    return "yes" if is_met else "no"


def require_equal_cut_offs(rounds: Mapping[Case, Sequence[Run]]) -> None:
    """Checks that all ways end each class at the same image, as ours.

    Raises:
        RuntimeError: If one does not.
    """
    for case, runs in rounds.items():
        expected = rounds[Case(OURS, case.rows)][0].cut_offs
        for run in runs:
            if case.way in SCAN or run.cut_offs == expected:
                continue
            differing = sorted(set(run.cut_offs) ^ set(expected))
            raise RuntimeError(
                f"{case.way} selects otherwise than ours out of {case.rows:,} rows: "
                f"{differing[0]} is a cut-off of one of them alone"
            )


def _seconds(run: Run) -> float:
    return run.seconds


def _memory(run: Run) -> float:
    return run.peak_gb
