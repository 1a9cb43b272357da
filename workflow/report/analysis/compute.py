"""What a run's chain and its control have computed, from the files of their stages."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator

from classifier.export.facts import CLASSIFIER
from pseudo_label.predictions.prediction_set import SUMMARY
from stage import typed_json
from stage.typed_json import Positive
from workflow.report.analysis.run_files import (
    LABELED_PREDICTIONS,
    TEACHER_PREDICTIONS,
    Run,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunCompute:
    """Multiply-adds, see `student.training.control` for what is counted.

    Attributes:
        chain: Those of all teachers, labelings and students.
        control: Those of the control.
    """

    chain: float
    control: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Counted:
    multiply_adds: Positive | None = None


def read_compute(run: Run) -> RunCompute | None:
    """Returns what the run has computed; None if a stage did not count it."""
    chain = [_read(path) for path in _chain(run)]
    control = _read(run.path / "control" / CLASSIFIER)
    known = [count for count in chain if count is not None]
    if control is None or len(known) < len(chain):
        return None
    return RunCompute(chain=sum(known), control=control)


def _read(path: pathlib.Path) -> float | None:
    if not path.exists():
        return None
    return typed_json.read(path, _Counted).multiply_adds


def _chain(run: Run) -> Iterator[pathlib.Path]:
    """Yields the files that say what the chain's stages have computed."""
    for member in run.members():
        yield member / CLASSIFIER
    for directory in run.rounds():
        yield from _labelings(directory)
        for excluded in sorted((directory / "excluded").glob("set-*")):
            yield excluded / SUMMARY
        yield directory / "student" / CLASSIFIER


def _labelings(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields the summaries of the teacher's predictions in a round's directory."""
    blended = [directory / name for name in (TEACHER_PREDICTIONS, LABELED_PREDICTIONS)]
    if not any(path.exists() for path in blended):
        blended = [directory / "predictions"]
    for path in blended:
        yield path / SUMMARY
