"""Runs a command and samples the memory of its process tree."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import psutil

ROOT = pathlib.Path(__file__).parents[2]
#: Built at import, before `cli.run` sets the variables that our jobs set themselves:
#: peers run without them.
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
#: Seconds between two samples.
INTERVAL = 0.1


class WatchedProcess(NamedTuple):
    """A command that has ended.

    Attributes:
        output: Standard output.
        started: Time of the start, seconds since the epoch.
        start_seconds: Time from the start until `has_begun`; 0 if it never held.
        seconds: Wall time.
        cpu_seconds: Processor time of all its processes.
        peak_bytes: Highest memory of all its processes at one time.
        peak_bytes_by_depth: Highest memory of any single process by its depth, 0 for
            the command's own process.
    """

    output: str
    started: float
    start_seconds: float
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    peak_bytes_by_depth: dict[int, int]

    @property
    def result(self) -> Any:
        """The last line of the output, parsed as JSON."""
        return json.loads(self.output.splitlines()[-1])

    @property
    def usage(self) -> dict[str, float]:
        """seconds; cpu_seconds and peak_gb, of all processes together."""
        return {
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "peak_gb": self.peak_bytes / 1e9,
        }

    def largest_process(self, *, min_depth: int) -> int:
        """Returns the highest memory of any process at least so deep, in bytes."""
        peaks = self.peak_bytes_by_depth.items()
        return max((size for depth, size in peaks if depth >= min_depth), default=0)


def resident_bytes(process: psutil.Process) -> int:
    """Returns the resident memory of a process, shared pages included."""
    return process.memory_info().rss


def proportional_bytes(process: psutil.Process) -> int:
    """Returns the memory of a process, each shared page divided among its users."""
    memory = process.memory_full_info()
    return getattr(memory, "pss", memory.uss)


def watch(
    command: Sequence[str],
    *,
    memory: Callable[[psutil.Process], int] = proportional_bytes,
    has_begun: Callable[[], bool] = lambda: False,
) -> WatchedProcess:
    """Runs a command to its end.

    Args:
        command: Program and arguments; runs in the repository's root.
        memory: Size of a process in bytes.
        has_begun: Whether the work itself has begun, as opposed to imports.

    Raises:
        RuntimeError: If the command fails.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        cpu, started, begin = _cpu_seconds(), time.time(), time.monotonic()
        process = psutil.Popen(
            command, cwd=ROOT, env=ENVIRONMENT, stdout=output, stderr=errors
        )
        peak, start_seconds = 0, 0.0
        peaks: dict[int, int] = {}
        for sizes in _samples(process, memory):
            peak = max(peak, sum(size for _, size in sizes))
            for depth, size in sizes:
                peaks[depth] = max(size, peaks.get(depth, 0))
            if not start_seconds and has_begun():
                start_seconds = time.monotonic() - begin
        seconds = time.monotonic() - begin
        output.seek(0)
        errors.seek(0)
        printed = output.read()
        if process.returncode:
            messages = (printed + errors.read())[-2000:]
            raise RuntimeError(f"{' '.join(command)} failed:\n{messages}")
    return WatchedProcess(
        output=printed,
        started=started,
        start_seconds=start_seconds,
        seconds=seconds,
        cpu_seconds=_cpu_seconds() - cpu,
        peak_bytes=peak,
        peak_bytes_by_depth=peaks,
    )


def _samples(
    process: psutil.Popen, memory: Callable[[psutil.Process], int]
) -> Iterator[list[tuple[int, int]]]:
    """Yields depth and bytes of each process of the tree until the first ends."""
    while True:
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(INTERVAL)
            return
        sizes, depths = [], {os.getpid(): -1}
        with contextlib.suppress(psutil.NoSuchProcess):
            # Parents come before their children.
            for member in (process, *process.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                    depth = depths.get(member.ppid(), 0) + 1
                    depths[member.pid] = depth
                    sizes.append((depth, memory(member)))
        yield sizes


def _cpu_seconds() -> float:
    """Returns the processor time of all ended descendants."""
    times = os.times()
    return times.children_user + times.children_system
