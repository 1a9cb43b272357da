"""What a run's chain and its control have computed, from the files of their stages."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

from classifier.export.facts import CLASSIFIER
from pseudo_label.predictions.prediction_set import SUMMARY
from stage import typed_json
from stage.artifact import CONFIG
from stage.typed_json import NonNegative
from workflow.report.analysis.run_files import (
    LABELED_PREDICTIONS,
    TEACHER_PREDICTIONS,
    Run,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunCompute:
    """Multiply-adds, see `student.training.control` for what is counted.

    Attributes:
        chain: Multiply-adds of all teachers, labelings and students.
        control: Multiply-adds of the control.
        uncounted: Whether the features of a probe, and labeling by it, are not among
            those of the chain, as they could not be counted.
    """

    chain: float
    control: float
    uncounted: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Counted:
    """What is read of `classifier.json` or `summary.json`."""

    multiply_adds: NonNegative | None = None
    image_multiply_adds: float | None = None
    features: str | None = None

    @property
    def is_uncounted(self) -> bool:
        """Whether it is a probe of features whose cost could not be counted."""
        return self.features is not None and self.image_multiply_adds is None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _PredictionsConfig:
    """What is read of `config.json`; `propagation` are the settings of blending."""

    propagation: dict[str, Any] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _SelectionConfig:
    excluded: dict[str, str] = dataclasses.field(default_factory=dict)


def read_compute(run: Run) -> RunCompute | None:
    """Returns what the run has computed; None if a stage is gone or did not count."""
    try:
        control = _read(run.path / "control" / CLASSIFIER).multiply_adds
        chain = {path: _read(path) for path in _chain(run)}
    except FileNotFoundError:
        return None
    uncounted = any(found.is_uncounted for found in chain.values())
    missing = [
        path
        for path, found in chain.items()
        # Labelings by a probe that is not counted cannot be counted either.
        if found.multiply_adds is None
        and not (uncounted and path.is_relative_to(run.round(1)))
    ]
    if control is None or missing:
        return None
    total = sum(found.multiply_adds or 0.0 for found in chain.values())
    return RunCompute(chain=total, control=control, uncounted=uncounted)


def _read(path: pathlib.Path) -> _Counted:
    return typed_json.read(path, _Counted)


def _chain(run: Run) -> Iterator[pathlib.Path]:
    """Yields the files that say what the chain's stages have computed.

    How many there are is read from what was made of them, not from the directories that
    are left. Raises FileNotFoundError if that is gone.
    """
    for number, directory in enumerate(run.rounds(), start=1):
        made = typed_json.read(directory / "predictions" / CONFIG, _PredictionsConfig)
        selection = typed_json.read(directory / "selection" / CONFIG, _SelectionConfig)
        if number == 1:
            yield from (member / CLASSIFIER for member in run.members())
        blended = (TEACHER_PREDICTIONS, LABELED_PREDICTIONS)
        for name in blended if made.propagation else ("predictions",):
            yield directory / name / SUMMARY
        excluded = directory / "excluded"
        yield from _numbered(excluded / "set", SUMMARY, len(selection.excluded))
        yield directory / "student" / CLASSIFIER


def _numbered(directory: pathlib.Path, file: str, count: int) -> Iterator[pathlib.Path]:
    """Yields a file of `directory`-1, `directory`-2 and so on."""
    for number in range(1, count + 1):
        yield directory.with_name(f"{directory.name}-{number}") / file
