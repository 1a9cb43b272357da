"""Labeling while its processes are killed at random times."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import random
import time
from collections.abc import Callable

import psutil

from tests.infra import jobs

#: Maximum seconds between a finished shard and a kill.
WORK_SECONDS = 2.0


@dataclasses.dataclass
class Toll:
    """Counts of kills, starts and completed outputs."""

    launchers: int = 0
    jobs: int = 0
    workers: int = 0
    starts: int = 0
    outputs: int = 0

    @property
    def kills(self) -> int:
        """Number of processes killed."""
        return self.launchers + self.jobs + self.workers

    def __str__(self) -> str:
        return (
            f"{self.kills} kills ({self.launchers} launchers, {self.jobs} jobs, "
            f"{self.workers} workers), {self.starts} starts, {self.outputs} outputs"
        )


class Chaos:
    """Kills processes of labeling commands and checks their outputs.

    Args:
        root: Directory with `in/` and `teacher/`.
        seed: Seed of the times and processes of the kills.
    """

    def __init__(self, root: pathlib.Path, seed: int) -> None:
        self._root = root
        self._rng = random.Random(seed)
        self._orphans: list[psutil.Process] = []
        self.toll = Toll()

    def run(self, kills: int, log: Callable[[Toll], None] = lambda toll: None) -> Toll:
        """Labels without kills, then until a number of kills is reached.

        Args:
            kills: Number of kills.
            log: Receives the counts after each output.

        Raises:
            RuntimeError: If a command fails without a kill, hangs, or completes an
                output with other bytes.
        """
        started = time.monotonic()
        self._start_up = self._label_undisturbed()
        while self.toll.kills < kills:
            output = self._root / f"disturbed-{self.toll.outputs}"
            self._complete(output, kills)
            jobs.compare(output, self._root / "undisturbed")
            self.toll.outputs += 1
            log(self.toll)
        self._bury_orphans()
        self.seconds = time.monotonic() - started
        return self.toll

    def _label_undisturbed(self) -> float:
        """Returns the seconds until the first shard was done."""
        output = self._root / "undisturbed"
        with jobs.running(self._root, output) as process:
            started = time.monotonic()
            jobs.wait_for_shards(process, output, 1)
            seconds = time.monotonic() - started
            status = process.wait(jobs.PATIENCE)
        if status != 0:
            raise RuntimeError(f"undisturbed, labeling failed: {jobs.log_of(output)}")
        return seconds

    def _complete(self, output: pathlib.Path, kills: int) -> None:
        """Starts the command until it succeeds."""
        while True:
            self.toll.starts += 1
            was_harmed = False
            with jobs.running(self._root, output) as process:
                while self.toll.kills < kills and process.poll() is None:
                    was_harmed |= self._disturb(process, output)
                status = process.wait(jobs.PATIENCE)
            if status == 0:
                return
            if not was_harmed:
                raise RuntimeError(f"unharmed, labeling failed: {jobs.log_of(output)}")

    def _disturb(self, process: psutil.Popen, output: pathlib.Path) -> bool:
        """Waits a random time, then kills a process; returns whether there was one."""
        if self._rng.random() < 0.5:
            jobs.wait(process, self._rng.uniform(0, self._start_up))
        else:
            jobs.wait_for_shards(process, output, jobs.count_shards(output) + 1)
            jobs.wait(process, self._rng.uniform(0, WORK_SECONDS))
        workers = jobs.workers_of(process)
        if process.poll() is not None:
            return False
        children = process.children()
        with contextlib.suppress(psutil.NoSuchProcess):  # It was about to end.
            if workers and self._rng.random() < 0.5:
                self._rng.choice(workers).kill()
                self.toll.workers += 1
                return True
            self._orphans += [*children, *workers]
            if children and self._rng.random() < 0.5:
                children[0].kill()
                self.toll.jobs += 1
            else:
                process.kill()
                self.toll.launchers += 1
        process.wait(jobs.PATIENCE)
        return True

    def _bury_orphans(self) -> None:
        _, alive = psutil.wait_procs(self._orphans, jobs.PATIENCE)
        for orphan in alive:
            orphan.kill()
        if alive:
            raise RuntimeError(
                f"{len(alive)} processes outlived a kill by {jobs.PATIENCE:.0f} s"
            )
