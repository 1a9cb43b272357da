r"""Says whether another round of self-training is worth it.

  python -m workflow.rounds --run=runs/birds --patience=1

Holds each student against the best classifier before it, on the images that
`teacher.calibrate --held_out` has asked all of them about: in round N+1 about the
student of round N, its teacher. Writes RUN/rounds.json. Ends with status 0 if another
round is worth it, and with 3, after saying why, if not.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from absl import app, flags

from pseudo_label.selection.precision import CALIBRATION
from stage.parquet import write_whole

_RUN = flags.DEFINE_string("run", None, "Directory of a run.", required=True)
_PATIENCE = flags.DEFINE_integer(
    "patience",
    1,
    "Students in a row that may fail to beat the best before them.",
    lower_bound=1,
)

ROUNDS = "rounds.json"
#: Status of a run that is to stop.
STOP = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Round:
    """A round, judged on images that nobody has learned from.

    Attributes:
        round: From 1 on.
        teacher_accuracy: In [0, 1].
        student_accuracy: Likewise.
        is_best: Whether the student beats all before it, the first teacher included.
    """

    round: int
    teacher_accuracy: float
    student_accuracy: float
    is_best: bool


def main(argv: Sequence[str]) -> None:
    """Writes and prints the decision."""
    try:
        if len(argv) > 1:
            raise ValueError(f"expected flags only, got {' '.join(argv[1:])!r}")
        run = pathlib.Path(_RUN.value)
        accuracies, num_images = read_accuracies(run)
        rounds = judge(accuracies)
        reason = reason_to_stop(rounds, patience=_PATIENCE.value)
        content = to_json(rounds, reason, num_images=num_images)
        write_whole(run / ROUNDS, json.dumps(content, indent=2) + "\n")
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    sys.stdout.writelines(f"{line}\n" for line in tell(content))
    sys.exit(STOP if reason else 0)


def read_accuracies(run: pathlib.Path) -> tuple[list[float], int]:
    """Returns the accuracy of the first teacher and of each student, and on how many.

    Raises:
        ValueError: If no student was judged, or they were judged on other images.
    """
    accuracies: list[float] = []
    images: list[dict[str, Any]] = []
    while (run / f"round-{len(accuracies) + 1}" / "calibration" / "COMPLETED").exists():
        directory = run / f"round-{len(accuracies) + 1}" / "calibration"
        facts = json.loads((directory / CALIBRATION).read_text())
        config = json.loads((directory / "config.json").read_text())
        accuracies.append(facts["accuracy"])
        images.append({"kind": config["kind"], **config["labeled"]})
    if len(accuracies) < 2:
        raise ValueError(
            f"expected {run}/round-1/calibration and round-2/calibration, of a teacher "
            "and its student; make rounds CALIBRATION= makes them"
        )
    for number, labeled in enumerate(images, start=1):
        if labeled != images[0] or labeled["kind"] != "held_out":
            raise ValueError(
                f"{run}/round-{number}/calibration: expected all rounds to be judged "
                "on the same images, of which none was learned from (CALIBRATION=)"
            )
    return accuracies, facts["num_images"]


def judge(accuracies: Sequence[float]) -> tuple[Round, ...]:
    """Returns the rounds.

    Args:
        accuracies: Of the first teacher, then of each student, in [0, 1].
    """
    return tuple(
        Round(
            round=number,
            teacher_accuracy=accuracies[number - 1],
            student_accuracy=accuracies[number],
            is_best=accuracies[number] > max(accuracies[:number]),
        )
        for number in range(1, len(accuracies))
    )


def reason_to_stop(rounds: Sequence[Round], *, patience: int) -> str | None:
    """Returns why no other round is worth it, or None if one is.

    Args:
        rounds: At least one.
        patience: Students in a row that may fail to beat the best before them.
    """
    failed = rounds[-patience:]
    if len(failed) < patience or any(one.is_best for one in failed):
        return None
    best = best_accuracy(rounds)
    last = rounds[-1]
    if patience == 1:
        return (
            f"the student of round {last.round} ({last.student_accuracy:.2%}) does not "
            f"beat the best before it ({best:.2%})"
        )
    return f"the last {patience} students do not beat the best before ({best:.2%})"


def best_accuracy(rounds: Sequence[Round]) -> float:
    """Returns the highest accuracy of the first teacher and all students."""
    students = [one.student_accuracy for one in rounds]
    return max(rounds[0].teacher_accuracy, *students)


def best_round(rounds: Sequence[Round]) -> int:
    """Returns the round whose student is best, 0 if it is the first teacher."""
    return max((one.round for one in rounds if one.is_best), default=0)


def to_json(
    rounds: Sequence[Round], reason: str | None, *, num_images: int
) -> dict[str, Any]:
    """Returns what stands in `rounds.json`."""
    return {
        "stopped": reason is not None,
        "reason": reason,
        "best_round": best_round(rounds),
        "num_images": num_images,
        "rounds": [dataclasses.asdict(one) for one in rounds],
    }


def tell(content: dict[str, Any]) -> Iterator[str]:
    """Yields the decision as lines."""
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
    app.run(main)
