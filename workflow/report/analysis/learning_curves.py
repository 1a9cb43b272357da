"""How trainings went: their curves, and how students bear the noise."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from workflow.report.analysis.run_files import Run, read_metrics

EVALUATION = "evaluation/top1"
LOSS = "train/loss"
#: The share of a noised batch that is taken for its label: of the pseudo-labeled
#: images, of the labeled ones, and of both where they are not told apart.
UNDER_NOISE = ("train/top1_pseudo_labeled", "train/top1_labeled", "train/top1")
_CURVES = (EVALUATION, LOSS, *UNDER_NOISE)
#: Points of a curve; of more, neighbors are averaged.
_MOST_POINTS = 60
#: Likewise of what is counted in one batch, perhaps of eight images.
_MOST_POINTS_OF_BATCHES = 12
#: Of a training, from the end back, in which noise is judged: one batch says little.
_LAST_PART = 0.25


@dataclasses.dataclass(frozen=True, kw_only=True)
class Series:
    """A metric of a training, over its steps."""

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
        for metric in _CURVES:
            if metric in metrics:
                is_of_batch = metric in UNDER_NOISE
                most = _MOST_POINTS_OF_BATCHES if is_of_batch else _MOST_POINTS
                points = _averaged(metrics[metric], most)
                yield Series(run=name, metric=metric, points=points)


def under_noise(series: Sequence[Series], run: str) -> float | None:
    """Returns the share of pseudo-labels repeated under noise at the end of a training.

    Of the labeled images as well, where they are not told apart; None where nothing
    was written.
    """
    by_metric = {one.metric: one.points for one in series if one.run == run}
    for metric in (UNDER_NOISE[0], UNDER_NOISE[-1]):
        points = by_metric.get(metric, ())
        if points:
            last = points[-1][0]
            return float(
                np.mean([y for x, y in points if x > (1.0 - _LAST_PART) * last])
            )
    return None


def _averaged(
    points: Sequence[tuple[int, float]], most: int
) -> tuple[tuple[float, float], ...]:
    parts = np.array_split(np.array(points, float), min(most, len(points)))
    return tuple((float(x), float(y)) for x, y in (part.mean(axis=0) for part in parts))
