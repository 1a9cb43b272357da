"""Means and paired differences over several runs that differ in their seed."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import scipy.special

from stage.typed_json import NonNegative, Share
from stage.validation import check

_NAMES = ("control", "teacher", "labeling_teacher", "student")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoundAccuracies:
    """Accuracies of the teacher and the student of a round."""

    teacher_accuracy: Share
    student_accuracy: Share


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What is read of a `report.json`: accuracies, and seconds by stage."""

    seed: int
    control_accuracy: Share
    teacher_accuracy: Share
    student_accuracy: Share
    rounds: tuple[RoundAccuracies, ...]
    seconds: dict[str, NonNegative]

    def __post_init__(self) -> None:
        check(bool(self.rounds), "expected one or more rounds, got none")


def summarize(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns each run's accuracies, and over all runs means and paired differences.

    The last student is compared with the first teacher, with the teacher that labeled
    for it, and with the control. Differences are paired within each run, whose draw of
    the data is equally hard for all. Each of `reports` is the content of a
    `report.json`.
    """
    rows = [_row(report) for report in reports]
    return {
        "runs": rows,
        "accuracy": {name: _spread([row[name] for row in rows]) for name in _NAMES},
        "gain_over": {
            name: _gain([row["student"] - row[name] for row in rows])
            for name in ("teacher", "labeling_teacher", "control")
        },
    }


def format_lines(summary: dict[str, Any]) -> Iterator[str]:
    """Yields the lines of the summary's table."""
    yield "  seed" + "".join(f"{name.replace('_', ' '):>18}" for name in _NAMES)
    rows = [(row["seed"], row) for row in summary["runs"]]
    for kind in ("mean", "sd"):
        rows.append((kind, {name: summary["accuracy"][name][kind] for name in _NAMES}))
    for head, row in rows:
        yield f"  {head:>4}" + "".join(f"{row[name]:>18.2%}" for name in _NAMES)
    for name, gain in summary["gain_over"].items():
        yield f"  student over {name.replace('_', ' ')}: {_format_gain(gain)}"


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


def _row(report: dict[str, Any]) -> dict[str, Any]:
    return {
        "seed": report["seed"],
        "control": report["control_accuracy"],
        "teacher": report["teacher_accuracy"],
        "labeling_teacher": report["rounds"][-1]["teacher_accuracy"],
        "student": report["student_accuracy"],
        "rounds": [figures["student_accuracy"] for figures in report["rounds"]],
        "seconds": sum(report["seconds"].values()),
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    sd = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.fmean(values), "sd": sd}
