"""All figures of a report, out of the files of a run."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from workflow.report.analysis import diagnosis, metrics, run_files, verdict
from workflow.report.analysis.diagnosis import Cause, Evidence
from workflow.report.analysis.learning_curves import Series, read_learning, under_noise
from workflow.report.analysis.metrics import Confusion, Interval
from workflow.report.analysis.round_figures import (
    Missing,
    RoundFigures,
    attempt,
    need,
    read_round,
)
from workflow.report.analysis.run_files import Evaluated, Run, Stage
from workflow.samples import choice
from workflow.samples.choice import Sample

#: Of classes that are mixed up.
_MOST_PAIRS = 12


@dataclasses.dataclass(frozen=True, kw_only=True)
class Accuracy:
    """How many of the test images a classifier is right about.

    Attributes:
        name: `control`, `teacher` or `student N`.
        share: In [0, 1].
        images: Tested on.
    """

    name: str
    share: Interval
    images: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gain:
    """By how much one classifier is right more often than another.

    Attributes:
        name: Of the one.
        over: Of the other.
        share: The difference, in [-1, 1].
        paired: Whether the interval knows which images are hard for both.
    """

    name: str
    over: str
    share: Interval
    paired: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Why the student of a round may have gained nothing.

    Attributes:
        round: Of the student.
        below: Whom it has ended below: the one that labeled for it, and of the last
            round the control, by the names of their `Accuracy`.
        causes: The likeliest first.
    """

    round: int
    below: tuple[str, ...]
    causes: tuple[Cause, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stopping:
    """Why no further round was begun, and which was the best, if that was told."""

    reason: str
    best_round: int | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figures:
    """All figures of a report but those of `verdict.make_report`.

    Attributes:
        run: Its name.
        headline: The verdict in a sentence.
        class_names: K names; none where the predictions are not there.
        accuracies: Of control, teacher and students.
        gains: Of the last student over teacher and control, then of the other students
            over those that labeled for them.
        diagnoses: Of every round.
        rounds: What each has made.
        learning: Curves of the trainings.
        confusions: Of the first teacher and the last student.
        stopping: None where the number of rounds was given.
        stages: All that was run.
    """

    run: str
    headline: str
    class_names: tuple[str, ...]
    accuracies: tuple[Accuracy, ...]
    gains: tuple[Gain, ...]
    diagnoses: tuple[Diagnosis, ...]
    rounds: tuple[RoundFigures, ...]
    learning: tuple[Series, ...]
    confusions: tuple[Confusion, ...] | Missing
    stopping: Stopping | None
    stages: tuple[Stage, ...]


def read_figures(path: pathlib.Path, report: dict[str, Any]) -> Figures:
    """Returns the figures of a run.

    Args:
        path: Its directory.
        report: What `verdict.make_report` says of it.
    """
    run = Run(path)
    rounds = tuple(
        read_round(run, one["round"], one["funnel"]) for one in report["rounds"]
    )
    accuracies = tuple(_accuracies(report))
    series = tuple(read_learning(run, len(rounds)))
    return Figures(
        run=run.name,
        headline=verdict.headline(report),
        class_names=_class_names(run),
        accuracies=accuracies,
        gains=tuple(_gains(run, accuracies)),
        diagnoses=tuple(_diagnose(run, found, accuracies, series) for found in rounds),
        rounds=rounds,
        learning=series,
        confusions=attempt(lambda: _confusions(run, len(rounds))),
        stopping=_stopping(path / "rounds.json"),
        stages=tuple(run_files.read_stages(run)),
    )


def read_samples(path: pathlib.Path, figures: Figures) -> list[Sample] | Missing:
    """Returns images of the last round to look at, which are no figures."""
    directory = Run(path).round(len(figures.rounds)) / "samples"
    if not (directory / choice.FILE).exists():
        return Missing(
            reason=f"There is no {directory.relative_to(path).as_posix()}.",
            command=f"make samples ROUND={len(figures.rounds)}",
        )
    return attempt(lambda: choice.read_samples(directory))


def to_json(figures: Figures, report: dict[str, Any]) -> dict[str, Any]:
    """Returns the report's JSON: what it held already, and all figures."""
    content = dataclasses.asdict(figures)
    # There may be many, and each figure names its own.
    del content["class_names"]
    rounds = [
        {**facts, **found}
        for facts, found in zip(report["rounds"], content.pop("rounds"), strict=True)
    ]
    return {**report, **content, "rounds": rounds}


def _class_names(run: Run) -> tuple[str, ...]:
    found = attempt(lambda: run.labeled(1).class_names)
    return () if isinstance(found, Missing) else found


def _accuracies(report: dict[str, Any]) -> Iterator[Accuracy]:
    images = report["num_test_images"]
    shares = {
        "control": report["control_accuracy"],
        "teacher": report["teacher_accuracy"],
    }
    for one in report["rounds"]:
        shares[f"student {one['round']}"] = one["student_accuracy"]
    for name, accuracy in shares.items():
        interval = metrics.share(round(accuracy * images), images)
        yield Accuracy(name=name, share=interval, images=images)


def _gains(run: Run, accuracies: Sequence[Accuracy]) -> Iterator[Gain]:
    """Yields them in the order of `Figures.gains`."""
    control, *line = accuracies
    by_name = {
        one.name: _evaluated(run, number) for number, one in enumerate(line, start=1)
    }
    by_name[control.name] = attempt(lambda: run.evaluated(run.control_evaluation()))
    pairs = [
        (line[-1], line[0]),
        (line[-1], control),
        *zip(line[1:], line, strict=False),
    ]
    for one, other in dict.fromkeys(pairs):
        yield _gain(one, other, by_name)


def _evaluated(run: Run, number: int) -> Evaluated | Missing:
    """Returns what the teacher of a round says of the test images."""
    return attempt(lambda: run.evaluated(run.teacher_evaluation(number)))


def _gain(
    one: Accuracy, other: Accuracy, evaluated: dict[str, Evaluated | Missing]
) -> Gain:
    share = metrics.difference(one.share, other.share)
    rows = [evaluated.get(accuracy.name) for accuracy in (one, other)]
    paired = _paired(*rows)
    # An image or two may be decided otherwise outside of the training.
    is_paired = (
        paired is not None and abs(paired.estimate - share.estimate) * one.images <= 2.0
    )
    if paired is not None and is_paired:
        share = dataclasses.replace(paired, estimate=share.estimate)
    return Gain(name=one.name, over=other.name, share=share, paired=is_paired)


def _paired(
    one: Evaluated | Missing | None, other: Evaluated | Missing | None
) -> Interval | None:
    """Returns the difference image by image; None if the images are not the same."""
    if not isinstance(one, Evaluated) or not isinstance(other, Evaluated):
        return None
    if not np.array_equal(one.key, other.key):
        return None
    return metrics.paired_difference(one.is_right, other.is_right)


def _diagnose(
    run: Run,
    found: RoundFigures,
    accuracies: Sequence[Accuracy],
    series: Sequence[Series],
) -> Diagnosis:
    number = found.round
    control, *line = accuracies
    teacher, student = line[number - 1 : number + 1]
    others = (teacher, control) if student is line[-1] else (teacher,)
    config = run_files.read_json(run.round(number) / "student" / "config.json")
    sizes = config.get("sizes") or {}
    evidence = Evidence(
        teacher_accuracy=teacher.share.estimate,
        kept=None if isinstance(found.kept, Missing) else found.kept,
        curve=() if isinstance(found.coverage, Missing) else found.coverage,
        agreement=_agreement(run, number),
        under_noise=under_noise(series, f"student {number}"),
        config=config["config"],
        labeled=sizes.get("labeled", 0),
        records=sizes.get("pseudo_labeled", 0),
    )
    return Diagnosis(
        round=number,
        below=tuple(
            one.name for one in others if student.share.estimate < one.share.estimate
        ),
        causes=diagnosis.diagnose(evidence),
    )


def _agreement(run: Run, number: int) -> float | None:
    path = run.round(number) / "evaluation" / "evaluation.json"
    if not path.exists():
        return None
    fit = run_files.read_json(path).get("fit") or {}
    agreement: float | None = fit.get("agreement")
    return agreement


def _confusions(run: Run, rounds: int) -> tuple[Confusion, ...]:
    teacher = need(_evaluated(run, 1)).judged()
    student = _evaluated(run, rounds + 1)
    return metrics.confusions(
        teacher,
        run.labeled(1).class_names,
        None if isinstance(student, Missing) else student.judged(),
        count=_MOST_PAIRS,
    )


def _stopping(path: pathlib.Path) -> Stopping | None:
    if not path.exists():
        return None
    content = run_files.read_json(path)
    return Stopping(
        reason=content.get("reason") or "", best_round=content.get("best_round")
    )
