"""The verdict on a run: the accuracies of teacher, control and students."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from classifier.export.facts import CLASSIFIER
from pseudo_label.selection import outlook
from pseudo_label.selection.decision import (
    SELECTION,
    Funnel,
    PrecisionEstimate,
    funnel_title,
)
from pseudo_label.selection.outlook import Outlook
from stage import artifact, typed_json
from stage.artifact_kinds import DATASET_INFO
from stage.typed_json import Count, Digits, PositiveCount, Share
from workflow.report.analysis.compute import read_compute
from workflow.report.analysis.diagnosis import LIKELY, TEACHER, Cause
from workflow.report.analysis.run_files import Run, read_stages, stage_command

T = TypeVar("T")


# What a report reads of the files, which may be of earlier versions.


@dataclasses.dataclass(frozen=True, kw_only=True)
class _EvaluationFacts:
    top1: Share
    num_examples: PositiveCount


@dataclasses.dataclass(frozen=True, kw_only=True)
class _ClassifierFacts:
    evaluation: _EvaluationFacts
    num_parameters: Count


@dataclasses.dataclass(frozen=True, kw_only=True)
class _SelectionFacts:
    funnel: Funnel
    estimate: PrecisionEstimate | None = None
    classes: tuple[dict[str, Any], ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Split:
    shardLengths: tuple[Digits, ...]  # noqa: N815


@dataclasses.dataclass(frozen=True, kw_only=True)
class _DatasetInfo:
    splits: tuple[_Split, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Seed:
    seed: Count


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Member:
    """What is read of a teacher's `config.json`; `features` are a probe's."""

    unlabeled: dict[str, Any] | None = None
    features: dict[str, Any] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _ControlConfig:
    config: _Seed


def make_report(path: pathlib.Path) -> dict[str, Any]:
    """Returns the main figures of a run.

    `teacher_accuracy` is that of the first teacher; each of `rounds` has that of its
    own. `consistent` says whether the first one learned from unlabeled images too,
    `pretrained` whether it is a probe.
    `compute` is None if a stage did not count its multiply-adds.

    Raises:
        FileNotFoundError: If a stage has not ended.
    """
    artifact.check_files(path)
    run = Run(path)
    run.check()
    evaluation = run.teacher_evaluation(1)
    teacher = _read(evaluation, "evaluation.json", _EvaluationFacts)
    control = _read(path / "control", CLASSIFIER, _ClassifierFacts).evaluation
    rounds: list[dict[str, Any]] = []
    accuracy = teacher.top1
    for number, directory in enumerate(run.rounds(), start=1):
        figures = _report_round(directory)
        rounds.append({"round": number, "teacher_accuracy": accuracy, **figures})
        accuracy = figures["student_accuracy"]
    if not rounds:
        raise FileNotFoundError(
            f"{path} has no round to report on: expected {run.round(1)}/predictions"
        )
    compute, members = read_compute(run), _read_members(run)
    stages = sorted(read_stages(run), key=lambda stage: stage.name.split("/"))
    return {
        "teacher_accuracy": teacher.top1,
        "consistent": any(member.unlabeled is not None for member in members),
        "pretrained": any(member.features is not None for member in members),
        "student_accuracy": accuracy,
        "control_accuracy": control.top1,
        "compute": compute and dataclasses.asdict(compute),
        "num_test_images": teacher.num_examples,
        "rounds": rounds,
        "funnel": rounds[-1]["funnel"],
        "seconds": {stage.name: stage.seconds for stage in stages},
        "bills": {stage.name: str(stage.bill) for stage in stages if stage.bill},
        "versions": artifact.read_completed(path / "control").versions,
        "seed": _read(path / "control", artifact.CONFIG, _ControlConfig).config.seed,
    }


def _read_members(run: Run) -> list[_Member]:
    """Returns what the members of the first teacher say that they learned from."""
    configs = [member / artifact.CONFIG for member in run.members()]
    return [typed_json.read(path, _Member) for path in configs if path.exists()]


def format_lines(report: dict[str, Any]) -> Iterator[str]:
    """Yields the verdict as the lines of a table."""
    last = report["rounds"][-1]
    yield ""
    yield "  funnel of the last round"
    for name, count in report["funnel"].items():
        yield f"    {funnel_title(name):<18}{count:>8,}"
    yield ""
    yield f"  accuracy on {report['num_test_images']} test images"
    yield f"    {'control':<18}{report['control_accuracy']:>8.2%}   labels alone"
    for figures in report["rounds"]:
        name = "teacher" if figures["round"] == 1 else f"student {figures['round'] - 1}"
        yield f"    {name:<18}{figures['teacher_accuracy']:>8.2%}   " + (
            _describe_first(report)
            if figures["round"] == 1
            else "teacher of the next round"
        )
    name = f"student {last['round']}"
    yield f"    {name:<18}{report['student_accuracy']:>8.2%}"
    if compute := report.get("compute"):
        yield f"  {describe_compute(compute, rounds=len(report['rounds']))}"
    yield ""
    for figures in report["rounds"]:
        if found := figures.get("outlook"):
            yield f"  before student {figures['round']}: {Outlook(**found)}"
    yield "  " + verdict_sentence(report)
    yield from _format_losses(report)
    for name, bill in report.get("bills", {}).items():
        yield f"  Dataflow has billed {name}: {bill}"
    seconds = sum(report["seconds"].values())
    yield f"  seed {report['seed']}; the stages took {seconds:.0f} s, added up"
    for warning in report.get("warnings", ()):
        yield f"  warning: {warning}"


def _describe_first(report: Mapping[str, Any]) -> str:
    if report.get("pretrained"):
        return "labels and pretrained features"
    return "labels and unlabeled images" if report.get("consistent") else "labels alone"


def describe_compute(compute: Mapping[str, float], *, rounds: int) -> str:
    """Returns the multiply-adds of the control and of a chain's rounds in words."""
    control, chain = compute["control"], compute["chain"]
    line = (
        f"the control has computed {control:.3g} multiply-adds, teachers, labeling and "
        f"students {chain:.3g}"
    )
    if compute.get("uncounted"):
        line += ", without the features of the probe, which were not counted"
    if control >= chain:
        return line
    return (
        f"{line}: too little; delete RUN/control, and noisy-student run RUN "
        f"--set=rounds.count={rounds}"
    )


def _format_losses(report: dict[str, Any]) -> Iterator[str]:
    """Yields why students are below their teacher or the control, and what to change.

    A teacher that may be guessing is named in any case.
    """
    for found in report.get("diagnoses", ()):
        likeliest = found["causes"][0]
        is_guessing = likeliest["name"] == TEACHER
        why, is_known = "no figure is beyond its bound", likeliest["state"] == LIKELY
        ranges = " and ".join(map(_describe_interval, found["differences"]))
        chance = f"it may be chance (95% interval {ranges} points)"
        if found["may_be_chance"] and not is_guessing:
            why, is_known = chance, False
        elif is_known:
            why = f"likeliest cause: {likeliest['finding']}"
            why = f"{chance}; {why}" if found["may_be_chance"] else why
        if found["below"]:
            whom = describe_below(found["below"])
            yield f"  student {found['round']} ends below {whom}; {why}"
        elif is_guessing:
            yield f"  round {found['round']}: {likeliest['finding']}"
        if is_known and (found["below"] or is_guessing):
            yield f"    to change: {Cause(**likeliest).change}"


def _describe_interval(difference: Mapping[str, float]) -> str:
    return f"{100 * difference['low']:+.1f} to {100 * difference['high']:+.1f}"


def describe_below(names: Sequence[str]) -> str:
    """Returns in words the classifiers that a student ended below."""
    return " and ".join(
        "the control" if name == "control" else "its teacher" for name in names
    )


def verdict_sentence(report: dict[str, Any]) -> str:
    """Returns in one sentence whether self-training was worth it."""
    gains = {
        name: report["student_accuracy"] - report[f"{key}_accuracy"]
        for name, key in (("its first teacher", "teacher"), ("the control", "control"))
    }
    above, below = (
        [
            f"{name} ({100 * gain:+.2f} points)"
            for name, gain in gains.items()
            if (gain > 0) == is_above
        ]
        for is_above in (True, False)
    )
    if not below:
        return f"the student is above {' and '.join(above)}"
    if not above:
        return f"the student is above neither {' nor '.join(below)}"
    return f"the student is above {above[0]}, but not above {below[0]}"


def headline(report: dict[str, Any]) -> str:
    """Returns the result of the last student as a headline."""
    last = report["rounds"][-1]
    student = report["student_accuracy"]
    over_teacher = _points(student - report["teacher_accuracy"])
    over_control = _points(student - report["control_accuracy"])
    over_last = _points(student - last["teacher_accuracy"])
    if over_teacher < 0:
        return f"The student ends {-over_teacher:.2f} points below its first teacher"
    if over_teacher == 0:
        return "The student is as accurate as its first teacher"
    gained = f"The student ends {over_teacher:.2f} points above its first teacher"
    if over_control <= 0:
        return f"{gained}, but not above the control"
    if over_last < 0:
        return (
            f"{gained}, but {-over_last:.2f} below the one that taught it, student "
            f"{last['round'] - 1}"
        )
    return gained


def _points(share: float) -> float:
    return round(100 * share, 2)


def _report_round(directory: pathlib.Path) -> dict[str, Any]:
    selection = _read(directory / "selection", SELECTION, _SelectionFacts)
    info = _read(directory / "dataset", DATASET_INFO, _DatasetInfo)
    lengths = [int(n) for split in info.splits for n in split.shardLengths]
    student = _read(directory / "student", CLASSIFIER, _ClassifierFacts)
    return {
        "student_accuracy": student.evaluation.top1,
        "student_parameters": student.num_parameters,
        "funnel": {**vars(selection.funnel), "written": sum(lengths)},
        "outlook": dataclasses.asdict(
            outlook.read_outlook(selection, directory / "predictions")
        ),
    }


def _read(directory: pathlib.Path, name: str, kind: type[T]) -> T:
    if not artifact.is_complete(directory):
        raise FileNotFoundError(
            f"{directory} is not complete; {stage_command(directory)} makes it, as "
            "does the command that began the run (a report covers every round that has "
            "begun)"
        )
    return typed_json.read(directory / name, kind)
