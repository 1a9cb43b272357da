"""Beam's local runner: its workers' log, and going on after a worker's death."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable

from apache_beam.options.pipeline_options import (
    PipelineOptions,
)

from beam_jobs.runners.options import has_worker_processes
from stage import cli

#: How often in a row workers may die without one more shard done.
MAX_DEATHS = 3
_DEATHS = "NOISY_STUDENT_RS_WORKER_DEATHS"
#: What Beam's thread for a worker process says when that has ended.
_WORKER_ENDED = re.compile(r"Worker subprocess exited with return code (-?\d+)")


class WorkersLog:
    """Takes what worker processes and libraries write to stderr.

    What Python itself writes there still comes through: it is for the user.
    """

    def __enter__(self) -> WorkersLog:
        sys.stderr.flush()
        self._file = tempfile.TemporaryFile()
        self._stderr = sys.stderr
        self._terminal = os.dup(2)
        os.dup2(self._file.fileno(), 2)
        sys.stderr = open(self._terminal, "w", buffering=1, closefd=False)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def save(self, more: str = "") -> str:
        """Keeps what was written, and `more`, in a file; returns its path."""
        handle, path = tempfile.mkstemp(prefix="noisy-student-rs-", suffix=".log")
        with open(handle, "wb") as kept:
            self._file.seek(0)
            shutil.copyfileobj(self._file, kept)
            kept.write(more.encode())
        return path

    def close(self) -> None:
        """Gives stderr back."""
        sys.stderr = self._stderr
        os.dup2(self._terminal, 2)
        os.close(self._terminal)
        self._file.close()


@dataclasses.dataclass
class Survivor:
    """Starts the program again where one of its worker processes was killed.

    Beam waits forever for a worker process that is gone; only the thread that
    watched it speaks of it.
    """

    options: PipelineOptions
    log: Callable[[str], None]
    count_done: Callable[[], int] | None
    workers_log: WorkersLog

    def __enter__(self) -> None:
        self._before = threading.excepthook
        if self.count_done is not None and has_worker_processes(self.options):
            self._done_before = self.count_done()
            threading.excepthook = self._hook

    def __exit__(self, *_: object) -> None:
        threading.excepthook = self._before

    def _hook(self, args: threading.ExceptHookArgs) -> None:
        ended = _WORKER_ENDED.search(str(args.exc_value))
        if ended is None or self.count_done is None:
            return  # Of the connections to it, which Beam's other threads lose.
        cli.kill_children()
        has_helped = self.count_done() > self._done_before
        deaths = 1 if has_helped else 1 + int(os.environ.get(_DEATHS, "0"))
        if deaths > MAX_DEATHS:
            sys.stderr.write(
                f"error: worker processes died {deaths} times without one more shard "
                f"done; is there enough memory? (more in {self.workers_log.save()})\n"
            )
            os._exit(1)
        self.log(f"a worker process ended with {ended[1]}; going on")
        os.environ[_DEATHS] = str(deaths)
        self.workers_log.close()
        os.execv(sys.executable, sys.orig_argv)
