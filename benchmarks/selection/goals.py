"""Goals of the selection job, and the figures that they apply to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from benchmarks.measuring.goals import Verdict
from benchmarks.measuring.turns import Rounds
from benchmarks.selection.task import OURS, CutOff

#: Number of rows from which all goals apply; below it, most of our time is the start.
FULL_ROWS = 130_000_000
#: Rows of the small run that measures the start.
START_ROWS = 10_000
#: Minimum seconds after the start for a meaningful ratio of seconds.
MIN_WORK_SECONDS = 0.5
#: Variants of one peer; the fastest is compared.
DUCKDB = ("duckdb", "duckdb_with_key")
TOP = ("top", "top_processes")
SCAN = ("scan",)
#: Lower bounds by figure, and upper ones.
AT_LEAST = {"ratio_to_duckdb": 2.0, "ratio_to_top": 10.0}
AT_MOST = {
    "seconds": 15.0,
    "peak_memory_gb": 1.0,
    "memory_ratio_to_duckdb": 0.5,
    "memory_ratio_10x": 1.1,
    "seconds_ratio_10x": 12.0,
}
#: Goals that apply from `FULL_ROWS` only.
FULL_GOALS = ("seconds", "ratio_to_duckdb", "memory_ratio_to_duckdb", "ratio_to_top")


class SelectionCase(NamedTuple):
    """A way, and the number of rows that it selects from."""

    way: str
    rows: int

    def __str__(self) -> str:
        return f"{self.way:16}{self.rows:12,}"


class RowCounts(NamedTuple):
    """Numbers of rows to select from: of all ways but Beam's Top, and of that."""

    rows: int
    top_rows: int

    @property
    def tenth(self) -> int:
        """Rows of the run that memory and seconds are compared with."""
        return self.rows // 10

    def cases(self, ways: Iterable[str]) -> list[SelectionCase]:
        """Returns the distinct cases, those of ours first."""
        counts = (self.rows, self.tenth, self.top_rows)
        cases = [SelectionCase(OURS, rows) for rows in counts]
        for way in ways:
            cases.append(SelectionCase(way, self.top_rows if way in TOP else self.rows))
        cases += [SelectionCase(way, START_ROWS) for way in dict(cases)]
        return list(dict.fromkeys(cases))


def figures(
    counts: RowCounts, rounds: Rounds[SelectionCase]
) -> Iterator[tuple[str, float]]:
    """Yields name and value of each figure of our job."""

    def fastest(ways: Sequence[str], rows: int) -> SelectionCase | None:
        return rounds.best(
            [SelectionCase(way, rows) for way in ways], "seconds", lowest=True
        )

    def work_seconds(case: SelectionCase) -> float:
        start = rounds.median(SelectionCase(case.way, START_ROWS), "seconds")
        return rounds.median(case, "seconds") - start

    ours = SelectionCase(OURS, counts.rows)
    tenth = SelectionCase(OURS, counts.tenth)
    yield "seconds", rounds.median(ours, "seconds")
    yield "start_seconds", rounds.median(SelectionCase(OURS, START_ROWS), "seconds")
    yield "peak_memory_gb", rounds.median(ours, "peak_gb")
    yield "memory_ratio_10x", rounds.ratio(ours, tenth, "peak_gb")
    if duckdb := fastest(DUCKDB, counts.rows):
        after_start = work_seconds(duckdb) / work_seconds(ours)
        yield "ratio_to_duckdb", rounds.ratio(duckdb, ours, "seconds")
        yield "ratio_to_duckdb_after_start", after_start
        yield "memory_ratio_to_duckdb", rounds.ratio(ours, duckdb, "peak_gb")
    if top := fastest(TOP, counts.top_rows):
        times = counts.rows / counts.top_rows
        equal = SelectionCase(OURS, counts.top_rows)
        after_start = work_seconds(top) / work_seconds(ours) * times
        yield "ratio_to_top", rounds.ratio(top, ours, "seconds") * times
        yield "ratio_to_top_after_start", after_start
        yield "ratio_to_top_at_equal_rows", rounds.ratio(top, equal, "seconds")
    if scan := fastest(SCAN, counts.rows):
        yield "ratio_to_scan", rounds.ratio(scan, ours, "seconds")
    if work_seconds(tenth) >= MIN_WORK_SECONDS:
        yield "seconds_ratio_10x", work_seconds(ours) / work_seconds(tenth)


def verdict(name: str, figure: float, *, rows: int) -> Verdict:
    """Returns a figure with its goal, if it has one."""
    is_exempt = name in FULL_GOALS and rows < FULL_ROWS
    exemption = f"only from {FULL_ROWS:,} rows" if is_exempt else ""
    return Verdict(name, figure, AT_LEAST.get(name), AT_MOST.get(name), exemption)


def check_equal(
    case: SelectionCase, cut_offs: Sequence[CutOff], expected: Sequence[CutOff]
) -> None:
    """Raises RuntimeError if a way ends a class at another image than ours."""
    if case.way not in SCAN and list(cut_offs) != list(expected):
        differing = sorted(set(cut_offs) ^ set(expected))
        raise RuntimeError(
            f"expected the same cut-offs of {case.way} and of ours out of "
            f"{case.rows:,} rows, got {differing[0]} from one of them alone"
        )
