"""Runs one way to label in processes of its own, and watches them."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import psutil

from benchmarks.labeling.goals import OURS
from benchmarks.labeling.task import RECORDS, Task, Total

ROOT = pathlib.Path(__file__).parents[2]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
#: Seconds between two looks at how much memory the processes have.
INTERVAL = 0.1


class Run(NamedTuple):
    """What a run reached.

    Attributes:
        images_per_second: From the first image's begin to the last one's end.
        start_seconds: From the command's begin to the first image's.
        worker_megabytes: Resident at most in one of the processes that label.
        engine: And precision that ours has computed with.
    """

    images_per_second: float
    start_seconds: float
    worker_megabytes: float
    engine: tuple[str, str] | None = None


class Watched(NamedTuple):
    """A command that has ended.

    Attributes:
        output: What it printed.
        started: When, in seconds since the epoch.
        begun: When it was first seen to label, 0 if it was not.
        first: Megabytes resident at most in its own process.
        others: Likewise in each of those that it has started, directly or not.
    """

    output: str
    started: float
    begun: float
    first: float
    others: list[float]


def measure(task: Task) -> Run:
    """Runs a task."""
    if task.way != OURS:
        command = [sys.executable, "-m", "benchmarks.labeling.peers", task.to_json()]
        watched = watch(command)
        total = Total(**json.loads(watched.output.splitlines()[-1]))
        return _run(task, watched, total.num_images / total.seconds, total.begin)
    with tempfile.TemporaryDirectory() as directory:
        output = pathlib.Path(directory) / "predictions"
        watched = watch(
            label_command(task, output),
            is_labeling=lambda: any(output.glob(".predictions-*")),
        )
        completed = json.loads((output / "COMPLETED").read_text())
        config = json.loads((output / "config.json").read_text())
    run = _run(task, watched, completed["images_per_second"], watched.begun)
    return run._replace(engine=(config["engine"], config["dtype"]))


def label_command(
    task: Task, output: pathlib.Path, model: Sequence[str] = ()
) -> list[str]:
    """Returns our command line for a task.

    Args:
        task: What to label. Of one process for each core nothing is said: that is the
            default.
        output: Directory of the predictions.
        model: Flags that name the model, instead of the task's classifier.
    """
    own = [f"--teacher={task.classifier}"]
    if task.engine is not None:
        own += [f"--engine={task.engine}", f"--dtype={task.dtype}"]
    beam = ["--", "--direct_num_workers=1", "--direct_running_mode=in_memory"]
    return [
        *(sys.executable, "-m", "beam_jobs.label_images"),
        f"--images=tfrecord:{task.records}/{RECORDS}",
        f"--output={output}",
        *(model or own),
        *(beam if task.processes == 1 else []),
    ]


def watch(
    command: Sequence[str], is_labeling: Callable[[], bool] = lambda: False
) -> Watched:
    """Runs a command, looking at its memory.

    Args:
        command: To be run.
        is_labeling: Whether it has begun to label.

    Raises:
        RuntimeError: If it fails.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        started, begun = time.time(), 0.0
        process = subprocess.Popen(
            command, cwd=ROOT, env=ENVIRONMENT, stdout=output, stderr=errors
        )
        peaks: dict[int, int] = {}
        while process.poll() is None:
            for pid, size in _resident(process.pid).items():
                peaks[pid] = max(size, peaks.get(pid, 0))
            if not begun and is_labeling():
                begun = time.time()
            time.sleep(INTERVAL)
        output.seek(0)
        errors.seek(0)
        printed = output.read()
        if process.returncode:
            words = (printed + errors.read())[-2000:]
            raise RuntimeError(f"{' '.join(command)} failed:\n{words}")
    first = peaks.pop(process.pid, 0)
    others = [size / 1e6 for size in peaks.values()]
    return Watched(printed, started, begun, first / 1e6, others)


def _resident(pid: int) -> dict[int, int]:
    """Returns the bytes that a process and all those below it have in memory."""
    sizes = {}
    with contextlib.suppress(psutil.NoSuchProcess):
        first = psutil.Process(pid)
        for process in (first, *first.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                sizes[process.pid] = process.memory_info().rss
    return sizes


def _run(task: Task, watched: Watched, speed: float, begun: float) -> Run:
    others = max(watched.others, default=0.0)
    labels_itself = task.way == OURS and task.processes == 1
    return Run(
        images_per_second=speed,
        start_seconds=begun - watched.started,
        worker_megabytes=watched.first if labels_itself else others,
    )
