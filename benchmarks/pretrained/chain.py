"""The commands of a draw: teachers, the probe's student, and the student's control."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

from benchmarks.methods.commands import call
from benchmarks.methods.draws import DataDraw

PRESET = "tiny"
#: Classifiers that others of a draw do not depend on.
OPTIONAL = TEACHER, CONTROL = "teacher", "control"
#: As in the Makefile.
TARGET_PRECISION = 0.97
_SELECTION = ("--images_per_class=0", "--max_copies=3")
_ONE_WORKER = ("--", "--direct_num_workers=1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbeTask:
    """A draw and what is learned from it.

    Attributes:
        draw: The images.
        features: Source of features of the probe.
        seed: Seed of the trainings.
        workdir: Directory for all files.
        student: Values of `--set=` of the student and its control.
        without: Those of `OPTIONAL` that are not trained.
    """

    draw: DataDraw
    features: str
    seed: int
    workdir: pathlib.Path
    student: tuple[str, ...] = ()
    without: frozenset[str] = frozenset()

    def path(self, name: str) -> pathlib.Path:
        """Returns the directory of an artifact."""
        return self.workdir / name

    def call(self, module: str, *flags: str) -> None:
        """Runs a command; what it prints goes to a file."""
        call(module, *flags, log=self.path("log.txt"))


def run(task: ProbeTask) -> None:
    """Makes all artifacts, but for those that are complete."""
    if TEACHER not in task.without:
        train_teacher(task)
    probe(task)
    select(task)
    train_student(task)
    if CONTROL not in task.without:
        train_control(task)


def train_teacher(task: ProbeTask) -> None:
    """Trains a teacher from scratch, by the Makefile's rules."""
    task.call(
        "teacher.train",
        f"--preset={PRESET}",
        *_labeled(task),
        f"--unlabeled={task.draw.images}",
        "--consistency=auto",
        *(f"--exclude={images}" for images in task.draw.exclude),
        f"--seed={task.seed}1",
        f"--workdir={task.path(TEACHER)}",
    )


def probe(task: ProbeTask) -> None:
    """Makes the probe."""
    task.call(
        "teacher.probe",
        f"--features={task.features}",
        *_labeled(task),
        f"--workdir={task.path('probe')}",
    )


def select(task: ProbeTask) -> None:
    """Labels the images with the probe, and writes those whose labels are sure."""
    predictions, selection = task.path("predictions"), task.path("selection")
    calibration = f"--calibration={task.path('probe') / 'calibration'}"
    task.call(
        "beam_jobs.label_images",
        f"--images={task.draw.images}",
        f"--teacher={task.path('probe')}",
        calibration,
        f"--output={predictions}",
        *_ONE_WORKER,
    )
    task.call(
        "beam_jobs.select_labels",
        f"--predictions={predictions}",
        calibration,
        f"--target_precision={TARGET_PRECISION}",
        f"--duplicate_bits={task.draw.duplicate_bits}",
        *_SELECTION,
        f"--output={selection}",
        *_ONE_WORKER,
    )
    task.call(
        "beam_jobs.write_records",
        f"--images={task.draw.images}",
        f"--predictions={predictions}",
        f"--selection={selection}",
        f"--output={task.path('dataset')}",
        *_ONE_WORKER,
    )


def train_student(task: ProbeTask) -> None:
    """Trains the student, with the seed that the Makefile gives it."""
    task.call(
        "student.train",
        *_student(task),
        f"--seed={task.seed}21",
        f"--workdir={task.path('student')}",
    )


def train_control(task: ProbeTask) -> None:
    """Trains the student's network on the labels alone, with the chain's compute."""
    task.call(
        "student.train",
        *_student(task),
        "--control",
        *(f"--compute_of={task.path(name)}" for name in ("probe", "predictions")),
        f"--seed={task.seed}",
        f"--workdir={task.path(CONTROL)}",
    )


def _labeled(task: ProbeTask) -> Sequence[str]:
    return f"--labeled={task.draw.labeled}", f"--evaluation={task.draw.evaluation}"


def _student(task: ProbeTask) -> Sequence[str]:
    return (
        f"--preset={PRESET}",
        *_labeled(task),
        f"--pseudo_labeled={task.path('dataset')}",
        *(f"--set={value}" for value in task.student),
    )
