"""The verdicts of several runs that differ in their seed, held side by side."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

#: Quantiles at 97.5 % of Student's t distribution with 1, 2, ... degrees of freedom.
_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
#: Of a normal distribution: what the above come to.
_Z = 1.960
_NAMES = ("control", "teacher", "labeling_teacher", "student")


def summarize(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns each run's accuracies, and over all runs means and paired differences.

    The last student is held against the first teacher, against the teacher that
    labeled for it (of the last round), and against the control: in each run by
    itself, as a hard draw is hard for all of them.
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


def tell(summary: dict[str, Any]) -> Iterator[str]:
    """Yields the summary as lines of a table."""
    yield "  seed" + "".join(f"{name.replace('_', ' '):>18}" for name in _NAMES)
    for row in summary["runs"]:
        cells = "".join(f"{row[name]:>18.2%}" for name in _NAMES)
        yield f"  {row['seed']:>4}{cells}"
    for kind in ("mean", "sd"):
        cells = "".join(f"{summary['accuracy'][name][kind]:>18.2%}" for name in _NAMES)
        yield f"  {kind:>4}{cells}"
    for name, gain in summary["gain_over"].items():
        yield f"  student over {name.replace('_', ' ')}: {_tell_gain(gain)}"


def _tell_gain(gain: dict[str, Any]) -> str:
    line = f"{100 * gain['mean']:+.2f} points"
    if gain["low"] is not None:
        line += (
            f" (95 % interval {100 * gain['low']:+.2f} to {100 * gain['high']:+.2f}, "
            f"sd {100 * gain['sd']:.2f})"
        )
    return f"{line}, better in {gain['wins']} of {gain['of']}"


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Returns the 95 % interval of the mean of some draws (Student 1908).

    None of a single one, which tells nothing of how others would be.
    """
    freedom = len(values) - 1
    if freedom < 1:
        return None
    t = _T[freedom - 1] if freedom <= len(_T) else _Z
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
