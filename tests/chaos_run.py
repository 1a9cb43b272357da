r"""Kills `noisy-student run` at random times, and starts it again each time.

  python -m tests.chaos_run --kills=50 --seed=1 --output=DIRECTORY

The chain is that of the demo with few steps. It is killed by SIGKILL, which its stages
must notice, or with all its processes, and by Ctrl-C and SIGTERM. What it makes must be
that of an undisturbed run, file by file. If it ends before the last kill, it is begun
anew.
"""

from __future__ import annotations

import collections
import contextlib
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

import psutil

from stage import cli
from stage.flags import CommandFlags
from tests import compare_runs
from tests.commands import ENVIRONMENT, ROOT

FLAGS = CommandFlags()
_KILLS = FLAGS.integer("kills", 50, "Number of kills.", lower_bound=1)
_SECONDS = FLAGS.number("seconds", 25.0, "Longest time until a kill.")
_SEED = FLAGS.integer("seed", 1, "Random seed of times and signals.")
_OUTPUT = FLAGS.output("Directory of the runs.")

#: Settings of a chain that takes a minute or two.
_SETTINGS = (
    "data.digits.labels_per_class=5",
    "teacher.preset=tiny",
    "teacher.consistency=off",
    "teacher.settings={num_steps=40, optimizer={warmup_steps=5}}",
    "student.settings={num_steps=40, optimizer={warmup_steps=5}}",
    "labeling.engine=tensorflow",
    "labeling.dtype=float32",
    "selection.duplicate_bits=-1",
    "selection.confidence_threshold=0.1",
    "runner.jobs=2",
)
_WAYS = ("kill", "kill all", "interrupt", "terminate")


def main(argv: Sequence[str]) -> None:
    """Runs the test."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
    root = pathlib.Path(_OUTPUT.value)
    expected, disturbed = root / "undisturbed", root / "disturbed"
    if status := _start(expected).wait():
        sys.exit(f"the undisturbed run ended with {status}")
    randomness = random.Random(_SEED.value)
    toll: collections.Counter[str] = collections.Counter()
    while toll.total() < _KILLS.value:
        way = randomness.choice(_WAYS)
        process = _start(disturbed)
        if _end(process, way, seconds=randomness.uniform(0, _SECONDS.value)):
            toll[way] += 1
            cli.log(f"{toll.total()} kills: {dict(toll)}")
            continue
        _compare(expected, disturbed, process)
        shutil.rmtree(disturbed)
    process = _start(disturbed)
    process.wait()
    _compare(expected, disturbed, process)
    cli.log(f"{dict(toll)}: all runs equal to the undisturbed one")


def _start(output: pathlib.Path) -> subprocess.Popen[bytes]:
    settings = [f"--set={setting}" for setting in _SETTINGS]
    output.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{output}.log", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "workflow", "run", f"--output={output}", *settings],
            cwd=ROOT,
            env=ENVIRONMENT,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _end(process: subprocess.Popen[bytes], way: str, *, seconds: float) -> bool:
    """Ends a run after some seconds; returns whether it still ran."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
        return False
    children = psutil.Process(process.pid).children(recursive=True)
    number = {"interrupt": signal.SIGINT, "terminate": signal.SIGTERM}.get(
        way, signal.SIGKILL
    )
    process.send_signal(number)
    for child in children if way == "kill all" else ():
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    started = time.monotonic()
    process.wait()
    cli.log(f"{way} after {seconds:.1f} s took {time.monotonic() - started:.1f} s")
    return True


def _compare(
    expected: pathlib.Path, found: pathlib.Path, process: subprocess.Popen[bytes]
) -> None:
    """Exits if a run has failed, or made something else."""
    if process.returncode:
        sys.exit(f"the run ended with {process.returncode}; see {found}.log")
    # A training that is told to end saves one more checkpoint.
    if compare_runs.main(expected, found, "checkpoints"):
        sys.exit("the disturbed run differs")


if __name__ == "__main__":
    cli.run(main, FLAGS)
