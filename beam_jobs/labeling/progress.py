"""How far a labeling job is, whichever runner runs it: its finished files tell."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

from beam_jobs.labeling.worker import Labeling
from pseudo_label.predictions import schema as prediction_schema

#: Seconds between two looks at which shards are done.
INTERVAL = 0.5
_WIDTH = 20


class Progress:
    """Watches the finished shards of a job while the block runs.

    Args:
        labeling: The job.
        log: Is told whenever another shard is done.
    """

    def __init__(self, labeling: Labeling, log: Callable[[str], None]) -> None:
        self._labeling = labeling
        self._log = log
        self._num_shards = labeling.num_shards
        self._waiting = set(range(self._num_shards))
        self._images = 0
        self._first: tuple[float, int, int] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Progress:
        self._look()
        self._started = time.monotonic()
        self._at_start = self._images, self.count_shards()
        if self.count_shards():
            self._log(
                f"{self.count_shards()} of {self._num_shards} shards are labeled "
                "already"
            )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        if error is None:
            self._look()
            self._show()

    def count_shards(self) -> int:
        """Returns how many shards were done at the last look."""
        return self._num_shards - len(self._waiting)

    def _watch(self) -> None:
        while not self._stop.wait(INTERVAL):
            if self._look() and self._waiting:
                self._show()

    def _look(self) -> bool:
        """Counts what has been finished since the last look; returns whether any."""
        directory = self._labeling.path(0).parent
        names = {path.name for path in directory.glob("predictions-*")}
        done = {i for i in self._waiting if prediction_schema.shard_name(i) in names}
        for index in done:
            path = self._labeling.path(index)
            self._images += prediction_schema.read_facts(path).num_rows
        self._waiting -= done
        return bool(done)

    def _show(self) -> None:
        now, count = time.monotonic(), self.count_shards()
        # From the first finished shards on: until then, workers are starting.
        since, images, shards = self._first or (self._started, *self._at_start)
        if self._first is None and count > shards:
            self._first = (now, self._images, count)
        seconds = max(now - since, 1e-9)
        done = count - shards
        left = int((self._num_shards - count) * seconds / done) if done else 0
        filled = _WIDTH * count // self._num_shards
        self._log(
            f"[{'#' * filled}{'.' * (_WIDTH - filled)}] "
            f"shard {count}/{self._num_shards}  {self._images:,} images  "
            f"{(self._images - images) / seconds:.1f} images/s  "
            f"ETA {left // 60}:{left % 60:02d}"
        )
