"""The verdicts of several runs that differ in their seed, held side by side."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any


def summarize(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns each run's accuracies, and over all runs means and counts of wins.

    The last student is held against the first teacher, against the teacher that
    labeled for it (of the last round), and against the control.
    """
    rows = [_row(report) for report in reports]
    gains: dict[str, Callable[[dict[str, Any]], float]] = {
        "teacher": lambda row: row["student"] - row["teacher"],
        "labeling_teacher": lambda row: row["student"] - row["labeling_teacher"],
        "control": lambda row: row["student"] - row["control"],
    }
    return {
        "runs": rows,
        "accuracy": {
            name: _spread([row[name] for row in rows])
            for name in ("control", "teacher", "labeling_teacher", "student")
        },
        "gain_over": {
            name: {
                **_spread([gain(row) for row in rows]),
                "wins": sum(gain(row) > 0 for row in rows),
                "of": len(rows),
            }
            for name, gain in gains.items()
        },
    }


def tell(summary: dict[str, Any]) -> Iterator[str]:
    """Yields the summary as lines of a table."""
    names = ("control", "teacher", "labeling_teacher", "student")
    yield "  seed" + "".join(f"{name.replace('_', ' '):>18}" for name in names)
    for row in summary["runs"]:
        cells = "".join(f"{row[name]:>18.2%}" for name in names)
        yield f"  {row['seed']:>4}{cells}"
    means = "".join(f"{summary['accuracy'][name]['mean']:>18.2%}" for name in names)
    yield f"  mean{means}"
    for name, gain in summary["gain_over"].items():
        yield (
            f"  student over {name.replace('_', ' ')}: "
            f"{100 * gain['mean']:+.2f} points (sd {100 * gain['sd']:.2f}), "
            f"better in {gain['wins']} of {gain['of']}"
        )


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
