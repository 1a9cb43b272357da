"""Labeling while its processes are killed at random moments."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import random
import time
from collections.abc import Callable

import psutil

from tests.infra import jobs

#: Seconds after a shard within which a kill falls.
WORK_SECONDS = 2.0


@dataclasses.dataclass
class Toll:
    """What happened so far."""

    launchers: int = 0
    workers: int = 0
    starts: int = 0
    outputs: int = 0

    @property
    def kills(self) -> int:
        """Processes killed."""
        return self.launchers + self.workers

    def __str__(self) -> str:
        return (
            f"{self.kills} kills ({self.launchers} launchers, {self.workers} workers), "
            f"{self.starts} starts, {self.outputs} outputs"
        )


class Chaos:
    """A labeling job that is not left alone.

    Args:
        root: With `in/` and `teacher/` in it.
        seed: Of the moments and the victims.
    """

    def __init__(self, root: pathlib.Path, seed: int) -> None:
        self._root = root
        self._rng = random.Random(seed)
        self._orphans: list[psutil.Process] = []
        self.toll = Toll()

    def run(self, kills: int, tell: Callable[[Toll], None] = lambda toll: None) -> Toll:
        """Labels, undisturbed at first, until so many kills are survived.

        Args:
            kills: So many.
            tell: Is told of each output that is as it should be.

        Raises:
            RuntimeError: If a launcher fails that nobody has harmed, stops getting on,
                or completes an output that differs.
        """
        started = time.monotonic()
        self._start_up = self._label_undisturbed()
        while self.toll.kills < kills:
            output = self._root / f"disturbed-{self.toll.outputs}"
            self._complete(output, kills)
            jobs.compare(output, self._root / "undisturbed")
            self.toll.outputs += 1
            tell(self.toll)
        self._bury_orphans()
        self.seconds = time.monotonic() - started
        return self.toll

    def _label_undisturbed(self) -> float:
        """Returns after how many seconds the first shard was done."""
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
        """Starts the job again and again until it has ended well."""
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
        """Waits for a moment and kills; returns whether anybody was there to kill."""
        if self._rng.random() < 0.5:
            jobs.wait(process, self._rng.uniform(0, self._start_up))
        else:
            jobs.wait_for_shards(process, output, jobs.count_shards(output) + 1)
            jobs.wait(process, self._rng.uniform(0, WORK_SECONDS))
        workers = jobs.workers_of(process)
        if process.poll() is not None:
            return False
        if workers and self._rng.random() < 0.5:
            with contextlib.suppress(psutil.NoSuchProcess):  # It was about to end.
                self._rng.choice(workers).kill()
                self.toll.workers += 1
        else:
            self._orphans += workers
            process.kill()
            process.wait()
            self.toll.launchers += 1
        return True

    def _bury_orphans(self) -> None:
        _, alive = psutil.wait_procs(self._orphans, jobs.PATIENCE)
        for orphan in alive:
            orphan.kill()
        if alive:
            raise RuntimeError(
                f"{len(alive)} workers outlived the job by {jobs.PATIENCE:.0f} s"
            )
