"""The file `metrics.jsonl`: a row of scalars for each step that was logged.

Imports no TensorFlow, so that a report can read it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable

from etils import epath

from classifier.export.facts import Evaluation
from stage import artifact, typed_json

METRICS = "metrics.jsonl"
#: Names of the evaluation's accuracy, and of that on a batch with its noise.
TOP1, TRAIN_TOP1 = "evaluation/top1", "train/top1"


@dataclasses.dataclass(frozen=True)
class MetricsRow:
    """One line: values by name, and the number of steps done when they were taken."""

    step: int
    values: dict[str, float]

    @property
    def top1(self) -> float | None:
        """Accuracy of the evaluation; None in a row of training steps."""
        return self.values.get(TOP1)

    def to_line(self) -> str:
        """Returns the row as it stands in the file."""
        return json.dumps({"step": self.step, **self.values}) + "\n"


def of_evaluation(evaluation: Evaluation) -> dict[str, float]:
    """Returns the values of an evaluation's row."""
    return {
        TOP1: evaluation.top1,
        "evaluation/cross_entropy": evaluation.cross_entropy,
    }


def read(directory: epath.PathLike) -> list[MetricsRow]:
    """Returns the rows in a run's directory; none if there is no file.

    A last line without its end is left out: its writer was killed, or is writing.

    Raises:
        ValueError: If a line is no row.
    """
    path = epath.Path(directory) / METRICS
    if not path.exists():
        return []
    *lines, _ = typed_json.read_bytes(path).split(b"\n")
    return [
        _parse(line, f"{path}, line {number}") for number, line in enumerate(lines, 1)
    ]


def write(directory: epath.PathLike, rows: Iterable[MetricsRow]) -> None:
    """Writes the file anew, atomically."""
    lines = "".join(row.to_line() for row in rows)
    artifact.write_bytes(epath.Path(directory) / METRICS, lines.encode())


def append(directory: epath.PathLike, row: MetricsRow) -> None:
    """Appends one row."""
    with (epath.Path(directory) / METRICS).open("a") as file:
        file.write(row.to_line())


def _parse(line: bytes, name: str) -> MetricsRow:
    try:
        values = typed_json.parse(line, dict[str, float], name)
        step = values.pop("step", -1.0)
        if step < 0 or not step.is_integer():
            raise ValueError(f"{name}: expected a step, a whole number, got {step}")
    except ValueError as error:
        raise ValueError(f"{error}; delete the line") from error
    return MetricsRow(int(step), values)
