"""Runs one way to select in processes of its own, and watches them."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import psutil

from benchmarks.labeling.runs import ENVIRONMENT, INTERVAL, ROOT
from benchmarks.selection.task import CONFIDENCE_THRESHOLD, OURS, CutOff, Task

MAX_COPIES = 3


class Run(NamedTuple):
    """What a run took.

    Attributes:
        seconds: From the command's begin to its end.
        cpu_seconds: Of all processes together.
        peak_gb: Of memory that all processes hold at a time, what they share counted
            once.
        cut_offs: By label; none where the way finds none.
    """

    seconds: float
    cpu_seconds: float
    peak_gb: float
    cut_offs: tuple[CutOff, ...] = ()


def measure(task: Task) -> Run:
    """Runs a task."""
    if task.way != OURS:
        command = [sys.executable, "-m", "benchmarks.selection.peers", *map(str, task)]
        run, printed = watch(command)
        found = json.loads(printed.splitlines()[-1])
        return run._replace(cut_offs=tuple(CutOff(*row) for row in found))
    with tempfile.TemporaryDirectory() as directory:
        output = pathlib.Path(directory) / "selection"
        run, _ = watch(our_command(task, output))
        selection = json.loads((output / "selection.json").read_text())
    return run._replace(cut_offs=tuple(_cut_offs(selection["classes"])))


def our_command(task: Task, output: pathlib.Path) -> list[str]:
    """Returns our command line for a task.

    It does not look for images that are the same: nobody else does.
    """
    return [
        *(sys.executable, "-m", "beam_jobs.select_labels"),
        f"--predictions={task.predictions}",
        f"--confidence_threshold={CONFIDENCE_THRESHOLD}",
        f"--images_per_class={task.images_per_class}",
        f"--max_copies={MAX_COPIES}",
        "--duplicate_bits=-1",
        f"--output={output}",
    ]


def watch(command: Sequence[str]) -> tuple[Run, str]:
    """Runs a command, looking at its memory; returns also what it printed.

    Raises:
        RuntimeError: If it fails.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        before, started, peak = _cpu_seconds(), time.monotonic(), 0
        process = subprocess.Popen(
            command, cwd=ROOT, env=ENVIRONMENT, stdout=output, stderr=errors
        )
        ended = os.pidfd_open(process.pid)
        while not select.select([ended], [], [], INTERVAL)[0]:
            peak = max(peak, _held(process.pid))
        seconds = time.monotonic() - started
        os.close(ended)
        process.wait()
        output.seek(0)
        errors.seek(0)
        printed = output.read()
        if process.returncode:
            words = (printed + errors.read())[-2000:]
            raise RuntimeError(f"{' '.join(command)} failed:\n{words}")
    return Run(seconds, _cpu_seconds() - before, peak / 1e9), printed


def _held(pid: int) -> int:
    """Returns the bytes that a process and all those below it have in memory."""
    size = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        first = psutil.Process(pid)
        for process in (first, *first.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                size += process.memory_full_info().pss
    return size


def _cpu_seconds() -> float:
    """Returns what the processes that have ended below this one have computed."""
    times = os.times()
    return times.children_user + times.children_system


def _cut_offs(rules: Sequence[dict[str, Any]]) -> Iterator[CutOff]:
    """Yields those of a selection."""
    for label, rule in enumerate(rules):
        place = rule["cut_off"]
        if place is not None:
            yield CutOff(label, rule["unique"], place["confidence"], place["key_hash"])
