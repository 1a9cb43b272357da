"""Learning curves of the training runs, and students' accuracy on noised images."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from workflow.report.analysis.run_files import Run, read_metrics

EVALUATION = "evaluation/top1"
LOSS = "train/loss"
#: Accuracy on a noised batch: pseudo-labeled images, labeled images, both together.
UNDER_NOISE = ("train/top1_pseudo_labeled", "train/top1_labeled", "train/top1")
#: Largest number of points of a curve; neighbors are averaged. Accuracies of single
#: batches, perhaps of eight images, need more averaging.
_MAX_POINTS = {EVALUATION: 60, LOSS: 60, **dict.fromkeys(UNDER_NOISE, 12)}
#: Share of the steps, the last ones, over which accuracy under noise is averaged.
_LAST_PART = 0.25


@dataclasses.dataclass(frozen=True, kw_only=True)
class Series:
    """A metric of a training run as (step, value) pairs."""

    run: str
    metric: str
    points: tuple[tuple[float, float], ...]


def read_learning(run: Run, rounds: int) -> Iterator[Series]:
    """Yields the curves of `control`, of each `teacher I` and of each `student N`."""
    directories = {
        "control": run.path / "control",
        **{f"teacher {i}": path for i, path in enumerate(run.members(), start=1)},
        **{f"student {n}": run.round(n) / "student" for n in range(1, rounds + 1)},
    }
    for name, directory in directories.items():
        metrics = read_metrics(directory)
        for metric, max_points in _MAX_POINTS.items():
            if metric in metrics:
                points = _average(metrics[metric], max_points)
                yield Series(run=name, metric=metric, points=points)


def agreement_under_noise(series: Sequence[Series], run: str) -> float | None:
    """Returns the share of pseudo-labels repeated under noise at the end of training.

    It is the share of all labels if pseudo-labeled images have no metric of their own;
    None without either metric.
    """
    by_metric = {curve.metric: curve.points for curve in series if curve.run == run}
    pseudo_labeled, _, both = UNDER_NOISE
    for metric in (pseudo_labeled, both):
        points = by_metric.get(metric, ())
        if points:
            first = (1.0 - _LAST_PART) * points[-1][0]
            return float(np.mean([value for step, value in points if step > first]))
    return None


def _average(
    points: Sequence[tuple[int, float]], count: int
) -> tuple[tuple[float, float], ...]:
    """Returns the means of at most `count` equal parts."""
    parts = np.array_split(np.array(points, float), min(count, len(points)))
    return tuple(tuple(part.mean(axis=0).tolist()) for part in parts)
