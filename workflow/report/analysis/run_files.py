"""The files of a run that the report reads, laid out by `workflow.stages`.

RUN/round-1/teacher/member-I      classifiers of the first teacher; a probe holds its
                                  own `calibration`
RUN/round-1/teacher/evaluation    first teacher on the test images
RUN/round-N/calibration           teacher of round N on held-out or out-of-fold images
RUN/round-N/{predictions,selection,dataset,student}
RUN/round-N/teacher_predictions   predictions before they were blended, and
RUN/round-N/labeled_predictions   those of the labeled images; neither without blending
RUN/round-N/samples               tiles of the contact sheets
RUN/round-N/evaluation            student of round N on the test images
RUN/control                       supervised run with the chain's compute
RUN/control/evaluation            control on the test images
RUN/rounds.json                   reason why no further round was begun
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from etils import epath
from numpy.typing import NDArray

from beam_jobs.runners.dataflow.bill import Bill, read_bill
from classifier.export.facts import CLASSIFIER
from classifier.training import metrics
from pseudo_label.predictions.prediction_set import open_predictions
from pseudo_label.selection import outlook, precision
from pseudo_label.selection.decision import (
    SELECTION,
    check_class_names,
    read_selection,
)
from pseudo_label.selection.precision import LabeledPredictions
from stage import artifact, typed_json
from stage.calibration_files import CALIBRATION_ROWS
from stage.parquet import read_parquet_file
from workflow.report.analysis.missing import MissingError
from workflow.report.analysis.prediction_counts import LabeledRound

#: `LabeledPredictions.kind` of test images.
TEST = "test"
#: Directories of a round whose predictions were blended.
TEACHER_PREDICTIONS, LABELED_PREDICTIONS = "teacher_predictions", "labeled_predictions"
#: Names of directories without their numbers, in the order in which they are made.
_ORDER = (
    *("data", "member", "round", "teacher", "calibration", "excluded"),
    *(TEACHER_PREDICTIONS, LABELED_PREDICTIONS, "predictions", "selection"),
    *("dataset", "samples", "student", "evaluation", "control"),
)
#: Commands by the names of the directories that they make.
_COMMANDS = {
    "member": "teacher.train, or teacher.probe,",
    "calibration": "teacher.calibrate",
    **dict.fromkeys(
        ("excluded", "set", TEACHER_PREDICTIONS, LABELED_PREDICTIONS),
        "beam_jobs.label_images",
    ),
    "predictions": "beam_jobs.label_images, or propagate_labels,",
    "selection": "beam_jobs.select_labels",
    "dataset": "beam_jobs.write_records",
    "samples": "workflow.sample_images",
    "student": "student.train",
    "control": "student.train --control",
}
#: Directories of a round that show that it has begun.
_ROUND_STAGES = ("predictions", "selection", "dataset", "student")
_ROUND = re.compile(r"round-([1-9][0-9]{0,5})")
_NUMBERED = re.compile(r"(.*)-([0-9]+)")
#: Most runs that a message names.
_MAX_NAMED = 5
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluatedImages:
    """Predictions of a classifier for the N test images.

    Attributes:
        key: str [N], in ascending order.
        label: int32 [N] true classes; -1 if unknown.
        predicted: int32 [N] predicted classes; -1 if the image could not be decoded.
        confidence: float32 [N] in [0, 1]; 0 without a prediction.
    """

    key: NDArray[Any]
    label: NDArray[np.int32]
    predicted: NDArray[np.int32]
    confidence: NDArray[np.float32]

    @property
    def is_right(self) -> NDArray[np.bool_]:
        """Whether each prediction is right, bool [N]."""
        right: NDArray[np.bool_] = self.label == self.predicted
        return right & (self.predicted >= 0)

    def decoded(self) -> LabeledPredictions:
        """Returns the predictions for the images that could be decoded."""
        is_decoded = self.predicted >= 0
        return LabeledPredictions(
            kind=TEST,
            label=self.label[is_decoded],
            predicted=self.predicted[is_decoded],
            confidence=self.confidence[is_decoded],
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinishedStage:
    """A complete artifact of the run.

    Attributes:
        name: Path of its directory below the run's.
        seconds: Wall time of the command.
        command: Arguments of Python.
        versions: Version of Python and of each package.
        seed: Seed of the command; None without one.
        fingerprints: SHA-256 of the artifact and of its inputs, by name.
        bill: What its jobs on Dataflow have cost; None without.
    """

    name: str
    seconds: float
    command: tuple[str, ...]
    versions: dict[str, str]
    seed: int | None
    fingerprints: dict[str, str]
    bill: Bill | None = None


@dataclasses.dataclass(frozen=True)
class Run:
    """The directory of a run whose stages have ended."""

    path: pathlib.Path

    def check(self) -> None:
        """Raises FileNotFoundError if the directory is above or inside a run."""
        if self.path.exists() and not any(self.path.glob("round-*")):
            for above in itertools.islice(self.path.resolve().parents, 3):
                if (above / "round-1").is_dir():
                    raise FileNotFoundError(
                        f"{self.path} is a part of a run; report on {above}"
                    )
            runs = sorted(path.parent for path in self.path.glob("*/round-1"))
            if runs:
                named = ", ".join(map(str, runs[:_MAX_NAMED]))
                raise FileNotFoundError(
                    f"{self.path} is no run (no round-1 in it); those below it are "
                    f"{named}{' and others' if len(runs) > _MAX_NAMED else ''}"
                )

    def round(self, number: int) -> pathlib.Path:
        """Returns the directory of a round, counted from 1."""
        return self.path / f"round-{number}"

    def rounds(self) -> list[pathlib.Path]:
        """Returns the directories of the rounds in order, from round 1 on.

        A directory with a calibration alone is of a round that was not started.

        Raises:
            ValueError: If a round between others is missing.
        """
        found = {
            int(name[1]): path
            for path in self.path.glob("round-*")
            if (name := _ROUND.fullmatch(path.name))
            if any((path / stage).exists() for stage in _ROUND_STAGES)
        }
        for number in range(1, max(found, default=0)):
            if number not in found:
                raise ValueError(
                    f"{self.path}: expected rounds 1 to {max(found)}, found no "
                    f"round-{number}"
                )
        return [found[number] for number in sorted(found)]

    def teacher_evaluation(self, number: int) -> pathlib.Path:
        """Returns the directory of the evaluation of a round's teacher."""
        if number == 1:
            return self.round(1) / "teacher" / "evaluation"
        return self.round(number - 1) / "evaluation"

    def members(self) -> list[pathlib.Path]:
        """Returns the classifiers of the first teacher.

        How many there are is read from the predictions that were made of them: there
        may be directories of others, if the run once had more. Without predictions it
        is all directories.
        """
        teacher = self.round(1) / "teacher"
        made = read_optional(self.round(1) / "predictions" / artifact.CONFIG)
        if isinstance(made.get("teachers"), list):
            numbers = range(1, len(made["teachers"]) + 1)
            return [teacher / f"member-{number}" for number in numbers]
        found = teacher.glob("member-*")
        return sorted(found, key=lambda path: (len(path.name), path.name))

    def labeled_round(self, number: int) -> LabeledRound:
        """Returns a round's predictions and its selection.

        Raises:
            MissingError: If there are no predictions.
            ValueError: If the selection is of another version.
        """
        directory = self.round(number)
        predictions = directory / "predictions"
        if not (predictions / artifact.CONFIG).exists():
            raise MissingError(
                f"There is no round-{number}/predictions.",
                f"noisy-student run RUN --until=labels --round={number}",
            )
        labeling = open_predictions(str(predictions))
        selection_directory = epath.Path(directory / "selection")
        selection = read_selection(selection_directory)
        check_class_names(
            selection_directory / SELECTION, selection, labeling.class_names
        )
        return LabeledRound(
            predictions=epath.Path(predictions),
            num_shards=labeling.num_shards,
            selection_directory=selection_directory,
            selection=selection,
        )

    def blends(self, number: int) -> bool:
        """Whether a round's predictions were blended with labels of similar images."""
        return outlook.read_agreement(self.round(number) / "predictions") is not None

    def reference_predictions(self, number: int) -> LabeledPredictions:
        """Returns predictions of a round's teacher for labeled images.

        The images are those of its calibration, or without one the test images. Neither
        are blended.

        Raises:
            MissingError: If there is neither, or no image could be decoded.
        """
        for directory in self._calibrations(number):
            if (directory / CALIBRATION_ROWS).exists():
                return precision.read_calibration(epath.Path(directory))
        found = self.evaluated(self.teacher_evaluation(number)).decoded()
        if not len(found.label):
            raise MissingError("No test image could be decoded.")
        return found

    def _calibrations(self, number: int) -> Iterator[pathlib.Path]:
        """Yields where the calibration of a round's teacher may be."""
        yield self.round(number) / "calibration"
        if number == 1:  # A probe has its own.
            yield self.round(1) / "teacher" / "member-1" / "calibration"

    def evaluated(self, directory: pathlib.Path) -> EvaluatedImages:
        """Returns the predictions for the test images in an evaluation's directory.

        Raises:
            MissingError: If they were not written.
            ValueError: If the file is broken.
        """
        path = directory / "evaluation.parquet"
        if not path.exists():
            prefix, _, number = directory.parent.name.partition("round-")
            raise MissingError(
                f"There is no {path.relative_to(self.path).as_posix()}, a classifier's "
                "prediction for each test image.",
                "noisy-student run RUN"
                + ("" if prefix else f" --until=evaluation --round={number}"),
            )
        return read_evaluated(path)


def stage_command(directory: pathlib.Path) -> str:
    """Returns the command that makes a directory of a run."""
    numbered = _NUMBERED.fullmatch(directory.name)
    name = numbered[1] if numbered else directory.name
    if name == "evaluation":
        is_teacher = directory.parent.name == "teacher"
        return "teacher.evaluate" if is_teacher else "student.evaluate"
    return _COMMANDS.get(name, "its command")


def read_evaluated(path: pathlib.Path) -> EvaluatedImages:
    """Returns the predictions in a file; raises ValueError if it is broken."""
    columns = ["key", "label", "predicted", "confidence"]
    table = read_parquet_file(path, columns).sort_by("key")
    return EvaluatedImages(
        key=table["key"].to_numpy(),
        label=table["label"].to_numpy(),
        predicted=table["predicted"].fill_null(-1).to_numpy(),
        confidence=table["confidence"].fill_null(0.0).to_numpy(),
    )


def read_metrics(directory: pathlib.Path) -> dict[str, list[tuple[int, float]]]:
    """Returns the (step, value) pairs of each metric of a training run."""
    found: dict[str, list[tuple[int, float]]] = collections.defaultdict(list)
    for row in metrics.read(directory):
        for name, value in row.values.items():
            found[name].append((row.step, value))
    return found


def read_stages(run: Run) -> Iterator[FinishedStage]:
    """Yields the complete artifacts: data, round by round, the control."""
    found = [completed.parent for completed in run.path.glob("**/COMPLETED")]
    for directory in sorted(found, key=lambda path: _order(path.relative_to(run.path))):
        completed = artifact.read_completed(directory)
        config = read_optional(directory / artifact.CONFIG)
        classifier = read_optional(directory / CLASSIFIER)
        own = {"classifier": classifier.get("fingerprint"), **config}
        yield FinishedStage(
            name=directory.relative_to(run.path).as_posix(),
            seconds=completed.seconds,
            command=completed.command,
            versions=completed.versions,
            seed=_seed(config),
            fingerprints=dict(_fingerprints(own)),
            bill=read_bill(directory),
        )


def _seed(config: dict[str, Any]) -> int | None:
    """Returns the seed in a `config.json`, of a training run or of a data stage."""
    recipe = config.get("config", config)
    seed = recipe.get("seed") if isinstance(recipe, dict) else None
    return seed if type(seed) is int else None


def _order(path: pathlib.PurePath) -> list[tuple[int, str, int]]:
    """Returns the sort key of a directory; member-10 comes after member-9."""
    parts = []
    for part in path.parts:
        numbered = _NUMBERED.fullmatch(part)
        stem, number = numbered.groups() if numbered else (part, "0")
        rank = _ORDER.index(stem) if stem in _ORDER else len(_ORDER)
        parts.append((rank, stem, int(number)))
    return parts


def read_optional(path: pathlib.Path) -> dict[str, Any]:
    """Returns the content of a JSON file, empty if there is no file."""
    return typed_json.read(path, dict[str, Any]) if path.exists() else {}


def _fingerprints(content: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yields the path, such as a.b.1, and value of each SHA-256 in JSON content."""
    if isinstance(content, str) and _FINGERPRINT.fullmatch(content):
        yield path, content
    if isinstance(content, list):
        content = dict(enumerate(content, start=1))
    if isinstance(content, dict):
        for name, inner in content.items():
            yield from _fingerprints(inner, f"{path}.{name}" if path else str(name))
