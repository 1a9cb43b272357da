"""The verdict on a run: what the teacher, the control and the student can do.

Reads the artifacts of a run as the Makefile lays them out:

  RUN/round-1/teacher/evaluation   the first teacher, one classifier or several
  RUN/round-N/{predictions,selection,dataset,student}
  RUN/control                      the supervised run of the student's budget
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from workflow.report.analysis.diagnosis import LIKELY

#: Of a round, in their order.
_STAGES = ("predictions", "selection", "dataset", "student")


def make_report(run: pathlib.Path) -> dict[str, Any]:
    """Returns all figures of a run.

    `teacher_accuracy` is that of the first teacher, which knows the labeled images
    alone; each of `rounds` has that of the teacher that labeled for it.

    Raises:
        FileNotFoundError: If a stage has not ended.
    """
    teacher = _read(run / "round-1" / "teacher" / "evaluation", "evaluation.json")
    control = _read(run / "control", "classifier.json")["evaluation"]
    rounds: list[dict[str, Any]] = []
    accuracy = teacher["top1"]
    for number, directory in enumerate(_round_directories(run), start=1):
        figures = _report_round(directory)
        rounds.append({"round": number, "teacher_accuracy": accuracy, **figures})
        accuracy = figures["student_accuracy"]
    return {
        "teacher_accuracy": teacher["top1"],
        "student_accuracy": accuracy,
        "control_accuracy": control["top1"],
        "num_test_images": teacher["num_examples"],
        "rounds": rounds,
        "funnel": rounds[-1]["funnel"],
        "seconds": dict(_seconds(run)),
        "versions": _read(run / "control", "COMPLETED")["versions"],
        "seed": _read(run / "control", "config.json")["config"]["seed"],
    }


def tell(report: dict[str, Any]) -> Iterator[str]:
    """Yields the verdict as lines of a table."""
    last = report["rounds"][-1]
    yield ""
    yield "  funnel of the last round"
    for name, count in report["funnel"].items():
        yield f"    {name.replace('_', ' '):<18}{count:>8,}"
    yield ""
    yield f"  accuracy on {report['num_test_images']} test images"
    yield f"    {'control':<18}{report['control_accuracy']:>8.2%}   labels alone"
    for figures in report["rounds"]:
        name = "teacher" if figures["round"] == 1 else f"student {figures['round'] - 1}"
        yield f"    {name:<18}{figures['teacher_accuracy']:>8.2%}   " + (
            "labels alone" if figures["round"] == 1 else "teacher of the next round"
        )
    name = f"student {last['round']}"
    yield f"    {name:<18}{report['student_accuracy']:>8.2%}"
    yield ""
    yield "  " + verdict(report)
    yield from _tell_losses(report)
    seconds = sum(report["seconds"].values())
    yield f"  {seconds:.0f} s of stages, seed {report['seed']}"


def _tell_losses(report: dict[str, Any]) -> Iterator[str]:
    """Yields which students ended below whom, and the likeliest cause."""
    for found in report.get("diagnoses", ()):
        if not found["below"]:
            continue
        likeliest = found["causes"][0]
        why = "no figure is beyond its bound"
        if likeliest["state"] == LIKELY:
            why = f"likeliest cause: {likeliest['finding']}"
        whom = describe_below(found["below"])
        yield f"  student {found['round']} ends below {whom}; {why}"


def describe_below(names: Sequence[str]) -> str:
    """Returns whom a student has ended below, by the names of their accuracies."""
    return " and ".join(
        "the control" if name == "control" else "its teacher" for name in names
    )


def verdict(report: dict[str, Any]) -> str:
    """Returns in one sentence whether the loop was worth it."""
    over_teacher = 100 * (report["student_accuracy"] - report["teacher_accuracy"])
    over_control = 100 * (report["student_accuracy"] - report["control_accuracy"])
    outcome = "beats" if min(over_teacher, over_control) > 0 else "does not beat both"
    return (
        f"the student {outcome} its first teacher ({over_teacher:+.2f} points) and "
        f"the control ({over_control:+.2f} points)"
    )


def headline(report: dict[str, Any]) -> str:
    """Returns in a sentence what became of the student, plainly where it lost."""
    last = report["rounds"][-1]
    student = report["student_accuracy"]
    over_teacher = _points(student - report["teacher_accuracy"])
    over_control = _points(student - report["control_accuracy"])
    over_last = _points(student - last["teacher_accuracy"])
    if over_teacher < 0:
        return f"The student ends {-over_teacher:.2f} points below its teacher"
    if over_teacher == 0:
        return "The student ends where its teacher began"
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
    selection = _read(directory / "selection", "selection.json")
    info = _read(directory / "dataset", "dataset_info.json")
    lengths = [int(n) for split in info["splits"] for n in split["shardLengths"]]
    student = _read(directory / "student", "classifier.json")
    return {
        "student_accuracy": student["evaluation"]["top1"],
        "student_parameters": student["num_parameters"],
        "funnel": {**selection["funnel"], "written": sum(lengths)},
    }


def _round_directories(run: pathlib.Path) -> list[pathlib.Path]:
    """Returns the rounds in order; one that was only calibrated is none yet."""
    found = {
        int(path.name.removeprefix("round-")): path
        for path in run.glob("round-*")
        if any((path / stage).exists() for stage in _STAGES)
    }
    return [found[number] for number in sorted(found)]


def _seconds(run: pathlib.Path) -> Iterator[tuple[str, float]]:
    for completed in sorted(run.glob("**/COMPLETED")):
        stage = completed.parent.relative_to(run).as_posix()
        yield stage, json.loads(completed.read_text())["seconds"]


def _read(directory: pathlib.Path, name: str) -> Any:
    if not (directory / "COMPLETED").exists():
        raise FileNotFoundError(f"{directory} is not complete; run its stage first")
    return json.loads((directory / name).read_text())
