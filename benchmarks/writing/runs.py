"""Runs one way to write in processes of its own, and watches them."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import psutil

from benchmarks.writing.inputs import Inputs
from stage.system import num_cores

ROOT = pathlib.Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
#: Seconds between two looks at how much memory the processes have.
INTERVAL = 0.1

OURS = "ours"
#: Beam's own in one process, and in one for each core.
STOCK = ("stock", "stock_processes")
#: In which way processes are asked for; else nothing is said to ours.
PROCESSES = "_processes"
WAYS = (OURS, OURS + PROCESSES, *STOCK)


class Run(NamedTuple):
    """What a run reached.

    Attributes:
        images_per_second: From the begin of the pipeline to the command's end.
        start_seconds: From the command's begin to the pipeline's.
        megabytes: That all its processes together have had at the most.
        with_start: Images a second from the command's begin to its end.
    """

    images_per_second: float
    start_seconds: float
    megabytes: float
    with_start: float


class Watched(NamedTuple):
    """A command that has ended.

    Attributes:
        start_seconds: Until it was first seen to have begun, 0 if it was not.
        seconds: That it took.
        megabytes: Of it and all below it together, at the most.
    """

    start_seconds: float
    seconds: float
    megabytes: float


def measure(way: str, inputs: Inputs, *, num_shards: int) -> Run:
    """Writes the dataset once, into a directory that is deleted.

    Args:
        way: One of `WAYS`.
        inputs: To be written.
        num_shards: Of the output.
    """
    from classifier.data.shard_manifest import MANIFEST

    with tempfile.TemporaryDirectory(dir=inputs.root) as directory:
        output = pathlib.Path(directory) / "dataset"
        command = write_command(way, inputs, str(output), num_shards)
        # All ways list the input shards there before they run their pipeline.
        watched = watch(command, has_begun=(output / MANIFEST).exists)
    seconds = watched.seconds - watched.start_seconds
    return Run(
        images_per_second=inputs.num_images / seconds,
        start_seconds=watched.start_seconds,
        megabytes=watched.megabytes,
        with_start=inputs.num_images / watched.seconds,
    )


def write_command(way: str, inputs: Inputs, output: str, num_shards: int) -> list[str]:
    """Returns the command line of a way.

    Args:
        way: One of `WAYS`.
        inputs: To be written.
        output: Directory to make.
        num_shards: Of it.
    """
    is_ours = way.startswith(OURS)
    module = "beam_jobs.write_records" if is_ours else "benchmarks.writing.beam_stock"
    in_processes = [
        *("--", f"--direct_num_workers={num_cores()}"),
        "--direct_running_mode=multi_processing",
    ]
    in_one = ["--", "--direct_num_workers=1"]
    by_itself = [] if is_ours else in_one
    return [
        *(sys.executable, "-m", module),
        f"--images={inputs.images}",
        f"--predictions={inputs.predictions}",
        f"--selection={inputs.selection}",
        f"--num_shards={num_shards}",
        f"--output={output}",
        *(in_processes if way.endswith(PROCESSES) else by_itself),
    ]


def watch(
    command: Sequence[str], has_begun: Callable[[], bool] = lambda: False
) -> Watched:
    """Runs a command, looking at its memory.

    Args:
        command: To be run.
        has_begun: Whether its work has begun.

    Raises:
        RuntimeError: If it fails.
    """
    with tempfile.TemporaryFile("w+") as output:
        started, start_seconds = time.monotonic(), 0.0
        process = subprocess.Popen(
            command, cwd=ROOT, env=ENVIRONMENT, stdout=output, stderr=output
        )
        peak = 0
        while process.poll() is None:
            peak = max(peak, _memory(process.pid))
            if not start_seconds and has_begun():
                start_seconds = time.monotonic() - started
            time.sleep(INTERVAL)
        seconds = time.monotonic() - started
        if process.returncode:
            output.seek(0)
            raise RuntimeError(f"{' '.join(command)} failed:\n{output.read()[-2000:]}")
    return Watched(start_seconds, seconds, peak / 1e6)


def _memory(pid: int) -> int:
    """Returns the bytes of a process and of all below it.

    What several of them share, as libraries, counts once.
    """
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        first = psutil.Process(pid)
        for process in (first, *first.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                memory = process.memory_full_info()
                total += getattr(memory, "pss", memory.uss)
    return total
