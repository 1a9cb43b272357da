"""Beam's local runner: the log of its worker processes, and what their death does."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator

from apache_beam.options.pipeline_options import PipelineOptions

from beam_jobs.runners import supervisor
from beam_jobs.runners.options import has_worker_processes
from stage import cli

#: Name of Beam's threads that wait for a worker process to end.
_WORKER_THREAD = "run_worker"

SaveLog = Callable[..., str]


@contextlib.contextmanager
def workers_log() -> Iterator[SaveLog]:
    """Collects what worker processes and C++ libraries write to stderr.

    `sys.stderr` itself still reaches the user.

    Yields:
        A function that keeps the log, with more text appended, in a file and returns
        its path. Without a call the log is discarded.
    """
    sys.stderr.flush()
    with (
        tempfile.TemporaryFile() as log,
        open(os.dup(2), "w", buffering=1) as terminal,
        contextlib.redirect_stderr(terminal),
    ):

        def save(more: str = "") -> str:
            handle, path = tempfile.mkstemp(prefix="noisy-student-rs-", suffix=".log")
            with open(handle, "wb") as kept:
                log.seek(0)
                shutil.copyfileobj(log, kept)
                kept.write(more.encode())
            return path

        os.dup2(log.fileno(), 2)
        try:
            yield save
        finally:
            os.dup2(terminal.fileno(), 2)


@contextlib.contextmanager
def restart_on_death(
    options: PipelineOptions,
    *,
    count_done: Callable[[], int],
    log: cli.Log,
    save_log: SaveLog,
) -> Iterator[None]:
    """Restarts the job if a worker process dies while the block runs.

    FnApiRunner hangs then; the only signal is an exception in a thread of it. For the
    arguments see `run.run_pipeline` and `workers_log`.
    """
    if not has_worker_processes(options):
        yield
        return
    before = count_done()
    is_first = threading.Lock()

    def handle(args: threading.ExceptHookArgs) -> None:
        if args.thread is None or args.thread.name != _WORKER_THREAD:
            # The threads that are connected to the dead process fail, too.
            text = "".join(traceback.format_exception(args.exc_value))
            os.write(2, text.encode())
        elif is_first.acquire(blocking=False):
            try:
                supervisor.end_after_death(
                    str(args.exc_value).rpartition(" ")[2],
                    has_progress=count_done() > before,
                    log=log,
                    save_log=save_log,
                )
            except Exception:  # Otherwise the job would hang: the disk may be full.
                traceback.print_exc()
                cli.kill_children()
                os._exit(1)

    excepthook, threading.excepthook = threading.excepthook, handle
    try:
        yield
    finally:
        threading.excepthook = excepthook
