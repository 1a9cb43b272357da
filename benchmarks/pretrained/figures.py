"""The figures of draws: a line of JSON for each, and what they have in the mean."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import statistics
from collections.abc import Iterator, Sequence

from stage import typed_json
from stage.typed_json import Count, Share
from workflow.report.analysis.seeds import interval


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrawFigures:
    """What a draw has given; accuracies are those on the test images, in [0, 1].

    Attributes:
        data: Name of the data set.
        seed: Seed of the draw and of the trainings.
        settings: Values of `--set=` of the student and its control.
        teacher: Accuracy of a teacher from scratch; None if none was trained.
        reference: Accuracy of scikit-learn's logistic regression on the probe's
            features.
        probe: Accuracy of the probe.
        student: Accuracy of the probe's student.
        control: Accuracy of the student's network, trained on the labels alone; None
            if none was trained.
        kept: Number of unlabeled images that the student learned from.
        estimated_precision: Share of right labels among these, by the calibration;
            None if it has no such images.
        precision: Share of right labels among these, by the true classes.
    """

    data: str
    seed: Count
    settings: tuple[str, ...]
    teacher: Share | None
    reference: Share
    probe: Share
    student: Share
    control: Share | None
    kept: Count
    estimated_precision: Share | None
    precision: Share


ACCURACIES = ("teacher", "reference", "probe", "student", "control")
#: What is compared with what.
COMPARED = (
    *(("probe", "reference"), ("probe", "teacher")),
    *(("student", "probe"), ("student", "control"), ("student", "teacher")),
)


def append(path: pathlib.Path, figures: DrawFigures) -> None:
    """Adds a draw to a file."""
    with open(path, "a") as file:
        file.write(json.dumps(dataclasses.asdict(figures)) + "\n")


def read(path: pathlib.Path) -> list[DrawFigures]:
    """Returns the draws of a file, none if there is no file.

    Raises:
        ValueError: If a line is none.
        OSError: If the file cannot be read.
    """
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [
        typed_json.parse(line, DrawFigures, f"{path}, line {number}")
        for number, line in enumerate(lines, start=1)
    ]


def describe(found: Sequence[DrawFigures]) -> Iterator[str]:
    """Yields lines with means, and with paired differences and 95 % intervals."""
    yield f"accuracy in %, mean of {len(found)} draws"
    for name in ACCURACIES:
        if known := _known(found, name):
            yield f"  {name:<12}{_mean(known, name):6.2f}"
    yield "differences in points, 95 % intervals, draws in which the first is better"
    for first, second in COMPARED:
        paired = [
            100 * (getattr(f, first) - getattr(f, second))
            for f in _known(found, first, second)
        ]
        if not paired:
            continue
        low, high = interval(paired) or (float("nan"), float("nan"))
        wins = sum(difference > 0 for difference in paired)
        yield (
            f"  {first} over {second:<12}{statistics.fmean(paired):+6.2f} "
            f"({low:+.2f} to {high:+.2f}), {wins} of {len(paired)}"
        )
    yield (
        f"images kept {statistics.fmean(f.kept for f in found):,.0f}, of whose labels "
        f"{_mean(found, 'precision'):.2f} % are right"
    )


def _known(found: Sequence[DrawFigures], *names: str) -> list[DrawFigures]:
    """Returns the draws that have all the figures."""
    return [f for f in found if all(getattr(f, name) is not None for name in names)]


def _mean(found: Sequence[DrawFigures], name: str) -> float:
    return 100 * statistics.fmean(getattr(figures, name) for figures in found)
