"""Progress of a labeling job, from its finished files: works with any runner."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from tqdm import tqdm

from beam_jobs.labeling.worker import Labeling
from pseudo_label.predictions import schema as prediction_schema
from stage.cli import Log
from stage.system import read_in_parallel

#: Seconds between two looks at a local output, and at one in a bucket, where each takes
#: a request for a thousand shards that are done.
INTERVAL, REMOTE_INTERVAL = 0.5, 30.0
_FORMAT = (
    "[{bar:20}] shard {n_fmt}/{total_fmt}  {images:,} images  "
    "{speed:.1f} images/s  ETA {remaining}"
)


class Progress:
    """Logs a line whenever more shards are labeled, while the block runs."""

    def __init__(
        self,
        labeling: Labeling,
        log: Log,
        *,
        interval: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._labeling = labeling
        self._log = log
        is_remote = "://" in str(labeling.path(0))
        default = REMOTE_INTERVAL if is_remote else INTERVAL
        self._interval = default if interval is None else interval
        self._clock = clock
        self._missing = set(labeling.own_shards)
        self._images = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Progress:
        """Raises RuntimeError if a shard is that of another job."""
        self._find_finished(check=True)
        # Time, images and shards that speeds are measured from.
        self._origin = self._clock(), self._images, self.count_shards()
        self._has_first_shard = False
        if self.count_shards():
            self._log(
                f"{self.count_shards()} of {len(self._labeling.own_shards)} shards are "
                "labeled already"
            )
        self._thread.start()
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if error is None:
            self._find_finished()
            self._show()

    def count_shards(self) -> int:
        """Returns the number of labeled shards at the last look."""
        return len(self._labeling.own_shards) - len(self._missing)

    def update(self) -> None:
        """Looks at the output; logs a line if more, but not all, shards are labeled."""
        if self._find_finished() and self._missing:
            self._show()

    def _watch(self) -> None:
        while not self._stop.wait(self._interval):
            self.update()

    def _find_finished(self, *, check: bool = False) -> bool:
        """Counts newly finished shards and their images; returns whether any.

        If `check`, raises RuntimeError if one is that of another job.
        """
        listed = prediction_schema.list_files(self._labeling.path(0).parent)
        names = {index: prediction_schema.shard_name(index) for index in self._missing}
        done = {index: name for index, name in names.items() if name in listed}
        paths = [listed[name] for name in done.values()]
        found = read_in_parallel(prediction_schema.read_facts, paths)
        for path, facts in zip(paths, found, strict=True):
            if check:
                prediction_schema.check_own_facts(
                    facts, path, fingerprint=self._labeling.fingerprint
                )
            self._images += facts.num_rows
        self._missing -= done.keys()
        return bool(done)

    def _show(self) -> None:
        now, count = self._clock(), self.count_shards()
        since, images, shards = self._origin
        if not self._has_first_shard and count > shards:
            # Measured from here on: until now, workers were starting.
            self._has_first_shard = True
            self._origin = now, self._images, count
        seconds = max(now - since, 1e-9)
        line = tqdm.format_meter(
            count,
            len(self._labeling.own_shards),
            seconds,
            ascii=".#",
            bar_format=_FORMAT,
            initial=shards,
            images=self._images,
            speed=(self._images - images) / seconds,
        )
        self._log(line)
