"""Where a run keeps what the report tells of, as the Makefile lays it out.

RUN/round-1/teacher/member-I      classifiers of the first teacher
RUN/round-1/teacher/evaluation    the first teacher on the test images
RUN/round-N/calibration           the teacher of round N on labeled images unknown to it
RUN/round-N/{predictions,selection,dataset,student}
RUN/round-N/samples               images to look at
RUN/round-N/evaluation            the student of round N on the test images
RUN/control                       the supervised run of the student's budget
RUN/control/evaluation            the control on the test images
RUN/rounds.json                   why no further round was begun
"""

from __future__ import annotations

import collections
import dataclasses
import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath
from numpy.typing import NDArray

from pseudo_label.selection import precision
from pseudo_label.selection.decision import Selection
from pseudo_label.selection.precision import LabeledPredictions
from stage.calibration_files import CALIBRATION_ROWS
from workflow.report.analysis.prediction_counts import LabeledRound

#: What `Calibration.kind` says of test images.
TEST = "test"
#: Directories as they are made, without their numbers.
_ORDER = (
    *("data", "member", "round", "teacher", "calibration", "excluded", "predictions"),
    *("selection", "dataset", "samples", "student", "evaluation", "control"),
)
_NUMBERED = re.compile(r"-[0-9]+$")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


class MissingError(Exception):
    """Something that the report can do without is not there.

    Attributes:
        reason: In one line.
        command: Which makes it.
    """

    def __init__(self, reason: str, command: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.command = command


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What a classifier says of the test images, N of them.

    Attributes:
        key: str [N], in ascending order.
        label: int32 [N] true classes; -1 where that is not known either.
        predicted: int32 [N]; -1 where the image could not be decoded.
        confidence: float32 [N] in [0, 1]; 0 there.
    """

    key: NDArray[Any]
    label: NDArray[np.int32]
    predicted: NDArray[np.int32]
    confidence: NDArray[np.float32]

    @property
    def is_right(self) -> NDArray[np.bool_]:
        """Which predictions are right, bool [N]."""
        right: NDArray[np.bool_] = self.label == self.predicted
        return right & (self.predicted >= 0)

    def judged(self) -> LabeledPredictions:
        """Returns the images that could be decoded, as a calibration has them."""
        is_decoded = self.predicted >= 0
        return LabeledPredictions(
            fingerprint="",
            kind=TEST,
            teachers=(),
            temperature=1.0,
            label=self.label[is_decoded],
            predicted=self.predicted[is_decoded],
            confidence=self.confidence[is_decoded],
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """A command that has made something of the run.

    Attributes:
        name: Directory that it has made, below the run's.
        seconds: That it took.
        command: What Python was given.
        versions: Of Python and packages.
        seed: That it was given; None where it has none.
        fingerprints: SHA-256 of what it has made and was made from, by name.
    """

    name: str
    seconds: float
    command: tuple[str, ...]
    versions: dict[str, str]
    seed: int | None
    fingerprints: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Run:
    """A run's directory, whose stages have ended.

    Attributes:
        path: The directory.
    """

    path: pathlib.Path

    @property
    def name(self) -> str:
        """What people call it: the last part of its path."""
        return self.path.resolve().name

    def round(self, number: int) -> pathlib.Path:
        """Returns the directory of a round, counted from 1."""
        return self.path / f"round-{number}"

    def teacher_evaluation(self, number: int) -> pathlib.Path:
        """Returns where the teacher that labeled in a round met the test images."""
        if number == 1:
            return self.round(1) / "teacher" / "evaluation"
        return self.round(number - 1) / "evaluation"

    def control_evaluation(self) -> pathlib.Path:
        """Returns where the control met the test images."""
        return self.path / "control" / "evaluation"

    def members(self) -> list[pathlib.Path]:
        """Returns the classifiers of the first teacher."""
        found = (self.round(1) / "teacher").glob("member-*")
        return sorted(found, key=lambda path: (len(path.name), path.name))

    def labeled(self, number: int) -> LabeledRound:
        """Returns a round's predictions and its selection.

        Raises:
            MissingError: If the predictions are not there.
            ValueError: If the selection is of another version.
        """
        directory = self.round(number)
        config = directory / "predictions" / "config.json"
        if not config.exists():
            raise MissingError(
                f"There is no round-{number}/predictions.",
                f"make labels ROUND={number}",
            )
        labeling = read_json(config)
        selection = directory / "selection"
        return LabeledRound(
            predictions=epath.Path(directory / "predictions"),
            num_shards=labeling["images"]["num_shards"],
            class_names=tuple(labeling["class_names"]),
            dropped_in=epath.Path(selection),
            selection=Selection.from_json(read_json(selection / "selection.json")),
        )

    def judged(self, number: int) -> LabeledPredictions:
        """Returns labeled images that tell how good a round's teacher is.

        Those of its calibration, or the test images where there is none.

        Raises:
            MissingError: If there is neither, or no image that could be decoded.
        """
        calibration = self.round(number) / "calibration"
        if (calibration / CALIBRATION_ROWS).exists():
            return precision.read_calibration(epath.Path(calibration))
        found = self.evaluated(self.teacher_evaluation(number)).judged()
        if not len(found.label):
            raise MissingError("No test image could be decoded.", "")
        return found

    def evaluated(self, directory: pathlib.Path) -> Evaluated:
        """Returns what a classifier says of each test image.

        Raises:
            MissingError: If that was not written.
            ValueError: If it is broken.
        """
        path = directory / "evaluation.parquet"
        if not path.exists():
            raise MissingError(
                f"There is no {path.relative_to(self.path).as_posix()}, what a "
                "classifier says of each test image.",
                _evaluating(directory),
            )
        return read_evaluated(path)


def _evaluating(directory: pathlib.Path) -> str:
    """Returns the command that writes there what a classifier says."""
    if directory.parent.name in ("teacher", "control"):
        return "make report"
    return f"make evaluation ROUND={directory.parent.name.removeprefix('round-')}"


def read_evaluated(path: pathlib.Path) -> Evaluated:
    """Returns what a classifier says of each test image.

    Raises:
        ValueError: If the file is broken.
    """
    columns = ["key", "label", "predicted", "confidence"]
    try:
        table = pq.read_table(path, columns=columns).sort_by("key")
    except pa.ArrowException as error:
        words = " ".join(str(error).split())
        raise ValueError(f"{path} is broken: {words}") from error
    return Evaluated(
        key=table["key"].to_numpy(),
        label=table["label"].to_numpy(),
        predicted=table["predicted"].fill_null(-1).to_numpy(),
        confidence=table["confidence"].fill_null(0.0).to_numpy(),
    )


def read_metrics(directory: pathlib.Path) -> dict[str, list[tuple[int, float]]]:
    """Returns the (step, value) pairs of each metric of a training run."""
    path = directory / "metrics.jsonl"
    found: dict[str, list[tuple[int, float]]] = collections.defaultdict(list)
    if not path.exists():
        return found
    for line in path.read_text().splitlines():
        if not line.endswith("}"):
            continue  # Its writer was killed.
        row = json.loads(line)
        step = row.pop("step")
        for name, value in row.items():
            found[name].append((step, value))
    return found


def read_stages(run: Run) -> Iterator[Stage]:
    """Yields what has been done: data, round by round, last the control."""
    found = [completed.parent for completed in run.path.glob("**/COMPLETED")]
    for directory in sorted(found, key=lambda path: _order(path.relative_to(run.path))):
        facts = read_json(directory / "COMPLETED")
        config = _read_optional(directory / "config.json")
        classifier = _read_optional(directory / "classifier.json")
        own = {"classifier": classifier.get("fingerprint"), **config}
        yield Stage(
            name=directory.relative_to(run.path).as_posix(),
            seconds=facts["seconds"],
            command=tuple(facts.get("command", ())),
            versions=facts.get("versions", {}),
            seed=config.get("config", config).get("seed"),
            fingerprints=dict(_fingerprints(own)),
        )


def read_json(path: pathlib.Path) -> Any:
    """Returns the content of a JSON file.

    Raises:
        ValueError: If it is none.
    """
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is broken: {error}") from error


def _order(path: pathlib.PurePath) -> list[tuple[int, str, int]]:
    """Returns what sorts directories as they are made, member-10 behind member-9."""
    places = []
    for part in path.parts:
        stem, _, number = part.rpartition("-")
        if not _NUMBERED.search(part):
            stem, number = part, "0"
        rank = _ORDER.index(stem) if stem in _ORDER else len(_ORDER)
        places.append((rank, stem, int(number)))
    return places


def _read_optional(path: pathlib.Path) -> dict[str, Any]:
    content: dict[str, Any] = read_json(path) if path.exists() else {}
    return content


def _fingerprints(content: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yields what is a SHA-256 within JSON, by where it stands."""
    if isinstance(content, str) and _FINGERPRINT.fullmatch(content):
        yield path, content
    pairs: Any = ()
    if isinstance(content, dict):
        pairs = content.items()
    elif isinstance(content, list):
        pairs = enumerate(content, start=1)
    for name, inner in pairs:
        yield from _fingerprints(inner, f"{path}.{name}" if path else str(name))
