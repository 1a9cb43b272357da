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
#: Points of a curve; neighbors are averaged. Accuracies of single batches, perhaps of
#: eight images, need more averaging.
_MAX_POINTS = {EVALUATION: 60, LOSS: 60, **dict.fromkeys(UNDER_NOISE, 12)}
#: Last part of a training run over which the accuracy on noised images is averaged.
_LAST_PART = 0.25


@dataclasses.dataclass(frozen=True, kw_only=True)
class Series:
    """A metric of a training run by step."""

    run: str
    metric: str
    points: tuple[tuple[float, float], ...]


def read_learning(run: Run, rounds: int) -> Iterator[Series]:
    """Yields the curves of `control`, of each `teacher I` and of each `student N`."""
    directories = {"control": run.path / "control"}
    for member, path in enumerate(run.members(), start=1):
        directories[f"teacher {member}"] = path
    for number in range(1, rounds + 1):
        directories[f"student {number}"] = run.round(number) / "student"
    for name, directory in directories.items():
        metrics = read_metrics(directory)
        for metric, most in _MAX_POINTS.items():
            if metric in metrics:
                points = _average(metrics[metric], most)
                yield Series(run=name, metric=metric, points=points)


def under_noise(series: Sequence[Series], run: str) -> float | None:
    """Returns the share of pseudo-labels repeated under noise at the end of training.

    Of all images if the metric of pseudo-labeled ones was not written; None without
    either.
    """
    by_metric = {curve.metric: curve.points for curve in series if curve.run == run}
    for metric in (UNDER_NOISE[0], UNDER_NOISE[-1]):
        points = by_metric.get(metric, ())
        if points:
            first = (1.0 - _LAST_PART) * points[-1][0]
            return float(np.mean([value for step, value in points if step > first]))
    return None


def _average(
    points: Sequence[tuple[int, float]], most: int
) -> tuple[tuple[float, float], ...]:
    parts = np.array_split(np.array(points, float), min(most, len(points)))
    return tuple((float(x), float(y)) for x, y in (part.mean(axis=0) for part in parts))
