r"""Decides whether another round of self-training is worth it.

  python -m workflow.rounds --run=runs/birds --patience=1

Compares each student with the best classifier before it, on the images that
`teacher.calibrate --held_out` has evaluated all of them on: the student of round N as
the teacher of round N+1. Writes RUN/rounds.json. Exits with status 0 if another round
is worth it, and with 3, after printing the reason, if not.
"""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from stage import artifact, cli, typed_json
from stage.calibration_files import CALIBRATION, HELD_OUT
from stage.flags import CommandFlags
from stage.typed_json import Count, Share

FLAGS = CommandFlags()
_RUN = FLAGS.run("Directory of a run.")
_PATIENCE = FLAGS.integer(
    "patience",
    1,
    "Number of consecutive students without a new best after which to stop.",
    lower_bound=1,
)

ROUNDS = "rounds.json"
#: Exit status if no other round is worth it.
STOP = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Round:
    """Accuracies of one round, in [0, 1].

    `is_best` is whether the student beats the first teacher and all earlier students.
    """

    round: int
    teacher_accuracy: float
    student_accuracy: float
    is_best: bool


def main(argv: Sequence[str]) -> None:
    """Writes and prints the decision."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        stops = decide(pathlib.Path(_RUN.value), patience=_PATIENCE.value, log=cli.log)
    sys.exit(STOP if stops else 0)


def decide(
    run: pathlib.Path, *, patience: int, log: cli.Log, count: int | None = None
) -> bool:
    """Returns whether to stop, after writing `rounds.json` and printing why.

    Args:
        run: Directory of the run.
        patience: Number of consecutive students without a new best.
        log: Receives a line for the user.
        count: Number of rounds to look at; None for all that are there.

    Raises:
        ValueError: As `read_accuracies`.
    """
    accuracies, num_images = read_accuracies(run, count)
    rounds = compare_rounds(accuracies)
    reason = reason_to_stop(rounds, patience=patience)
    content = to_json(rounds, reason, num_images=num_images)
    artifact.write_json(run / ROUNDS, content)
    for line in format_decision(content):
        log(line)
    return reason is not None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Calibrated:
    """What is read of a calibration's `config.json`."""

    kind: str
    labeled: dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Accuracy:
    """What is read of `calibration.json`."""

    accuracy: Share
    num_images: Count


def read_accuracies(
    run: pathlib.Path, count: int | None = None
) -> tuple[list[float], int]:
    """Returns the accuracies of the first teacher and each student of `count` rounds.

    Also returns the number of images, which no classifier was trained on.

    Raises:
        ValueError: If no student was evaluated, or not all on the same such images.
    """
    numbers = itertools.count(1) if count is None else range(1, count + 2)
    candidates = (run / f"round-{n}" / "calibration" for n in numbers)
    directories = list(itertools.takewhile(artifact.is_complete, candidates))
    if len(directories) < 2:
        raise ValueError(
            f"expected {run}/round-1/calibration and round-2/calibration, of a teacher "
            f"and its student, got {len(directories)} of them; `noisy-student rounds` "
            "makes both"
        )
    configs = [
        typed_json.read(path / artifact.CONFIG, _Calibrated) for path in directories
    ]
    for path, config in zip(directories, configs, strict=True):
        if config.kind != HELD_OUT or config.labeled != configs[0].labeled:
            raise ValueError(
                f"{path}: expected {HELD_OUT} images, the same as in {directories[0]}, "
                f"got other or {typed_json.shown(config.kind)} images; calibrate all "
                "rounds on the same data.calibration"
            )
    facts = [typed_json.read(path / CALIBRATION, _Accuracy) for path in directories]
    return [fact.accuracy for fact in facts], facts[-1].num_images


def compare_rounds(accuracies: Sequence[float]) -> tuple[Round, ...]:
    """Returns the rounds, from the accuracies of the first teacher and each student."""
    return tuple(
        Round(
            round=number,
            teacher_accuracy=teacher,
            student_accuracy=student,
            is_best=student > max(accuracies[:number]),
        )
        for number, (teacher, student) in enumerate(itertools.pairwise(accuracies), 1)
    )


def reason_to_stop(rounds: Sequence[Round], *, patience: int) -> str | None:
    """Returns why no other round is worth it, or None if one is.

    None is worth it if the last `patience` students do not beat the best before them.
    """
    recent = rounds[-patience:]
    if len(recent) < patience or any(result.is_best for result in recent):
        return None
    best = max(rounds[0].teacher_accuracy, *(r.student_accuracy for r in rounds))
    last = rounds[-1]
    if patience == 1:
        return (
            f"the student of round {last.round} ({last.student_accuracy:.2%}) does not "
            f"beat the best before it ({best:.2%})"
        )
    return f"the last {patience} students do not beat the best before ({best:.2%})"


def to_json(
    rounds: Sequence[Round], reason: str | None, *, num_images: int
) -> dict[str, Any]:
    """Returns the content of `rounds.json`; best_round is 0 for the first teacher."""
    return {
        "stopped": reason is not None,
        "reason": reason,
        "best_round": max((r.round for r in rounds if r.is_best), default=0),
        "num_images": num_images,
        "rounds": [dataclasses.asdict(r) for r in rounds],
    }


def format_decision(content: dict[str, Any]) -> Iterator[str]:
    """Yields the lines to print for the content of `rounds.json`."""
    last = content["rounds"][-1]
    yield (
        f"round {last['round']}: on {content['num_images']} calibration images the "
        f"teacher has {last['teacher_accuracy']:.2%}, the student "
        f"{last['student_accuracy']:.2%}"
    )
    if content["stopped"]:
        yield f"stopping: {content['reason']}"
    best = content["best_round"]
    yield f"best so far: {f'round-{best}/student' if best else 'round-1/teacher'}"


if __name__ == "__main__":
    cli.run(main, FLAGS)
