import pytest

from benchmarks.measuring.turns import Rounds
from benchmarks.selection import goals
from benchmarks.selection.goals import RowCounts, SelectionCase
from benchmarks.selection.task import OURS, CutOff

FIGURES = ("seconds", "cpu_seconds", "peak_gb")


def turn(*figures):
    return dict(zip(FIGURES, figures, strict=True))


def test_each_case_is_measured_once_and_ours_first():
    cases = RowCounts(10_000_000, 1_000_000).cases(["duckdb", "top"])
    assert len(cases) == len(set(cases)) == 7
    assert {rows for way, rows in cases if way == OURS} == {
        *(10_000_000, 1_000_000, goals.START_ROWS)
    }
    assert {rows for way, rows in cases if way == "duckdb"} == {
        *(10_000_000, goals.START_ROWS)
    }
    assert SelectionCase("top", 1_000_000) in cases
    for case in cases:
        assert cases.index(SelectionCase(OURS, case.rows)) <= cases.index(case)


def test_figures_are_of_the_faster_peer_and_the_median_round():
    counts = RowCounts(130_000_000, 1_000_000)
    measured = {
        SelectionCase(OURS, counts.rows): (14.0, 4.0, 0.50),
        SelectionCase(OURS, counts.tenth): (5.0, 4.0, 0.48),
        SelectionCase(OURS, counts.top_rows): (4.2, 4.0, 0.4),
        SelectionCase(OURS, goals.START_ROWS): (4.0, 4.0, 0.4),
        SelectionCase("duckdb", counts.rows): (40.5, 4.0, 2.0),
        SelectionCase("duckdb", goals.START_ROWS): (0.5, 0.4, 0.1),
        SelectionCase("duckdb_with_key", counts.rows): (60.0, 4.0, 1.0),
        SelectionCase("top", counts.top_rows): (6.3, 4.0, 1.0),
        SelectionCase("top", goals.START_ROWS): (2.3, 4.0, 1.0),
        SelectionCase("scan", counts.rows): (2.8, 4.0, 0.1),
    }
    rounds = Rounds(
        {
            case: [turn(*figures), turn(*figures), turn(1.0, 1.0, 1.0)]
            for case, figures in measured.items()
        }
    )
    found = {name: round(f, 3) for name, f in goals.figures(counts, rounds)}
    assert found == {
        "seconds": 14.0,
        "start_seconds": 4.0,
        "peak_memory_gb": 0.5,
        "memory_ratio_10x": 1.042,
        "ratio_to_duckdb": 2.893,
        "ratio_to_duckdb_after_start": 4.0,
        "memory_ratio_to_duckdb": 0.25,
        "ratio_to_top": 58.5,
        "ratio_to_top_after_start": 52.0,
        "ratio_to_top_at_equal_rows": 1.5,
        "ratio_to_scan": 0.2,
        "seconds_ratio_10x": 10.0,
    }
    assert not set(goals.AT_LEAST) & set(goals.AT_MOST)
    bounded = {*goals.AT_LEAST, *goals.AT_MOST}
    assert set(goals.FULL_GOALS) <= bounded <= set(found)


def test_what_was_not_measured_has_no_figure():
    counts = RowCounts(1_000_000, 100_000)
    rounds = Rounds({case: [turn(4.0, 4.0, 0.5)] for case in counts.cases([])})
    # Nor has what cannot be distinguished from the start.
    assert [name for name, _ in goals.figures(counts, rounds)] == [
        *("seconds", "start_seconds", "peak_memory_gb", "memory_ratio_10x")
    ]


@pytest.mark.parametrize(
    ("name", "figure", "rows", "expected"),
    [
        ("seconds", 15.0, goals.FULL_ROWS, "<= 15 yes"),
        ("seconds", 15.1, goals.FULL_ROWS, "<= 15 no"),
        ("seconds", 4.0, 10_000_000, "<= 15 only from 130,000,000 rows"),
        ("ratio_to_duckdb", 2.0, goals.FULL_ROWS, ">= 2 yes"),
        ("ratio_to_duckdb", 1.9, goals.FULL_ROWS, ">= 2 no"),
        ("peak_memory_gb", 1.1, 10_000_000, "<= 1 no"),
        ("start_seconds", 4.0, goals.FULL_ROWS, ""),
    ],
)
def test_some_goals_are_asked_at_all_rows_alone(name, figure, rows, expected):
    words = goals.verdict(name, figure, rows=rows).line().split()
    assert words == [name, f"{figure:.3f}", *expected.split()]


def test_a_way_that_selects_otherwise_is_an_error():
    ours = [CutOff(0, 5, 0.5, 1), CutOff(1, 2, 0.9, 2)]
    other = [CutOff(0, 5, 0.5, 1), CutOff(1, 2, 0.9, 3)]
    goals.check_equal(SelectionCase("top", 10), ours, ours)
    goals.check_equal(SelectionCase("scan", 10), [], ours)
    with pytest.raises(RuntimeError, match=r"top.*label=1"):
        goals.check_equal(SelectionCase("top", 10), other, ours)
    with pytest.raises(RuntimeError, match="top"):
        goals.check_equal(SelectionCase("top", 10), [], ours)
