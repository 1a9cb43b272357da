"""Several runs side by side; means and differences if only their seeds differ."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import scipy.special

from stage.typed_json import NonNegative, Share
from stage.validation import check
from workflow.report.analysis.run_differences import RunFacts, find_differences

#: Most settings that differ that are listed.
_MAX_DIFFERENCES = 8
_NAMES = ("control", "teacher", "labeling_teacher", "student")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoundAccuracies:
    """Accuracies of the teacher and the student of a round."""

    teacher_accuracy: Share
    student_accuracy: Share


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report(RunFacts):
    """What is read of a `report.json`: accuracies, and seconds by stage."""

    control_accuracy: Share
    teacher_accuracy: Share
    student_accuracy: Share
    rounds: tuple[RoundAccuracies, ...]
    seconds: dict[str, NonNegative]

    def __post_init__(self) -> None:
        check(bool(self.rounds), "expected one or more rounds, got none")


def summarize(reports: Sequence[tuple[str, Report]]) -> dict[str, Any]:
    """Returns each run's accuracies, and over all runs means and paired differences.

    The last student is compared with the first teacher, with the teacher that labeled
    for it, and with the control. Differences are paired within each run, whose draw of
    the data is equally hard for all. Of runs that differ in more than their seeds there
    are no means, but the settings that differ.

    Args:
        reports: Name of each run, and the content of its `report.json`.
    """
    rows = [_row(name, report) for name, report in reports]
    differences = find_differences([report for _, report in reports])
    summary: dict[str, Any] = {
        "runs": rows,
        "differences": [dataclasses.asdict(found) for found in differences],
        "accuracy": None,
        "gain_over": None,
    }
    if differences:
        return summary
    return {
        **summary,
        "accuracy": {name: _spread([row[name] for row in rows]) for name in _NAMES},
        "gain_over": {
            name: _gain([row["student"] - row[name] for row in rows])
            for name in ("teacher", "labeling_teacher", "control")
        },
    }


def format_lines(summary: dict[str, Any]) -> Iterator[str]:
    """Yields the lines of the summary's table."""
    title = "run" if summary["differences"] else "seed"
    rows = [(str(row[title]), row) for row in summary["runs"]]
    for kind in ("mean", "sd") if summary["accuracy"] else ():
        rows.append((kind, {name: summary["accuracy"][name][kind] for name in _NAMES}))
    width = max(4, *(len(head) for head, _ in rows))
    heads = "".join(f"{name.replace('_', ' '):>18}" for name in _NAMES)
    yield f"  {title:>{width}}{heads}"
    for head, row in rows:
        shares = "".join(f"{row[name]:>18.2%}" for name in _NAMES)
        yield f"  {head:>{width}}{shares}"
    for name, gain in (summary["gain_over"] or {}).items():
        yield f"  student over {name.replace('_', ' ')}: {_format_gain(gain)}"
    if summary["differences"]:
        yield from _format_differences(summary)


def _format_differences(summary: dict[str, Any]) -> Iterator[str]:
    differences, runs = summary["differences"], summary["runs"]
    of = "other images" if differences[0]["is_of_images"] else "other settings"
    yield f"  no means: the runs have {of}, not only other seeds"
    for difference in differences[:_MAX_DIFFERENCES]:
        yield f"    {difference['setting']}"
        for row, value in zip(runs, difference["values"], strict=True):
            yield f"      {row['run']}: {value}"
    if len(differences) > _MAX_DIFFERENCES:
        yield f"    and {len(differences) - _MAX_DIFFERENCES} more"
    if len({row["seed"] for row in runs}) > 1:
        yield "  their seeds differ as well: a part of the differences may be chance"


def _format_gain(gain: dict[str, Any]) -> str:
    line = f"{100 * gain['mean']:+.2f} points"
    if gain["low"] is not None:
        line += (
            f" (95 % interval {100 * gain['low']:+.2f} to {100 * gain['high']:+.2f}, "
            f"sd {100 * gain['sd']:.2f})"
        )
    return f"{line}, better in {gain['wins']} of {gain['of']}"


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Returns the 95 % interval of a mean, by Student's t; None for a single value."""
    freedom = len(values) - 1
    if freedom < 1:
        return None
    t = float(scipy.special.stdtrit(freedom, 0.975))
    mean = statistics.fmean(values)
    error = t * statistics.stdev(values) / math.sqrt(len(values))
    return mean - error, mean + error


def _gain(differences: Sequence[float]) -> dict[str, Any]:
    low, high = interval(differences) or (None, None)
    return {
        **_spread(differences),
        "low": low,
        "high": high,
        "wins": sum(difference > 0 for difference in differences),
        "of": len(differences),
    }


def _row(name: str, report: Report) -> dict[str, Any]:
    return {
        "run": name,
        "seed": report.seed,
        "control": report.control_accuracy,
        "teacher": report.teacher_accuracy,
        "labeling_teacher": report.rounds[-1].teacher_accuracy,
        "student": report.student_accuracy,
        "rounds": [figures.student_accuracy for figures in report.rounds],
        "seconds": sum(report.seconds.values()),
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    sd = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.fmean(values), "sd": sd}
