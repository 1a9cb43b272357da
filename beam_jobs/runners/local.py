"""Beam's local runner: what it loses, the log of its worker processes, their death."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import IO, Any, TextIO

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.worker import data_plane

from beam_jobs.runners import supervisor
from beam_jobs.runners.options import has_worker_processes
from stage import cli, streams, system

#: Name of Beam's threads that wait for a worker process to end.
_WORKER_THREAD = "run_worker"

SaveLog = Callable[..., str]


def repair_streams() -> None:
    """Keeps the streams to worker processes from losing data, in Beam 2.77.

    A thread sends what is in a stream's buffer once a second, then clears the buffer;
    what was written in between was lost. Here, writing waits for the lock that sending
    holds. That is enough for the runner, which writes whole chunks with `write`.
    Worker processes, whose coders do not, send by size, without a thread.
    """
    stream = data_plane.TimeBasedBufferingClosableOutputStream
    if "write" not in vars(stream):
        stream.write = _write_under_lock


def _write_under_lock(stream: Any, data: bytes, nested: bool = False) -> None:
    with stream._flush_lock:
        data_plane.OutputStream.write(stream, data, nested)


@contextlib.contextmanager
def workers_log() -> Iterator[SaveLog]:
    """Collects what worker processes and C++ libraries write to stderr.

    `sys.stderr` itself still reaches the user.

    Yields:
        A function that keeps the log, with more text appended, in a file and returns
        a remark that names it, or says why there is none. Without a call the log is
        discarded.
    """
    streams.flush()
    with (
        _open_log() as log,
        _unbuffered(os.dup(2)) as terminal,
        contextlib.redirect_stderr(terminal),
    ):

        def save(more: str = "") -> str:
            try:
                return f"(more in {_keep(log, more)})"
            except OSError as error:
                return f"(the log cannot be saved: {error})"

        os.dup2(log.fileno(), 2)
        root = logging.getLogger()
        # absl's handler prints some lines to the user as well.
        handlers, root.handlers = root.handlers, [_handler_of(log)]
        try:
            yield save
        finally:
            root.handlers = handlers
            os.dup2(terminal.fileno(), 2)


def _handler_of(log: IO[bytes]) -> logging.Handler:
    return logging.StreamHandler(_unbuffered(log.fileno(), closefd=False))


def _unbuffered(handle: int, *, closefd: bool = True) -> TextIO:
    """Returns a stream that has nothing left to print, and to fail, when it closes."""
    raw = io.FileIO(handle, "w", closefd=closefd)
    return io.TextIOWrapper(raw, errors="backslashreplace", write_through=True)


def _open_log() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile()
    except OSError:  # Work needs no log.
        return open(os.devnull, "r+b")


def _keep(log: IO[bytes], more: str) -> str:
    handle, path = tempfile.mkstemp(prefix="noisy-student-rs-", suffix=".log")
    try:
        with open(handle, "wb") as kept:
            log.seek(0)
            shutil.copyfileobj(log, kept)
            kept.write(more.encode(errors="backslashreplace"))
    except OSError:
        os.unlink(path)
        raise
    return path


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
            with contextlib.suppress(OSError):
                os.write(2, text.encode(errors="backslashreplace"))
        elif is_first.acquire(blocking=False):
            try:
                supervisor.end_after_death(
                    str(args.exc_value).rpartition(" ")[2],
                    has_progress=count_done() > before,
                    log=log,
                    save_log=save_log,
                )
            except Exception as error:  # Otherwise the job would hang.
                streams.warn(f"error: a worker process ended: {error!r}")
                system.kill_children()
                os._exit(1)

    excepthook, threading.excepthook = threading.excepthook, handle
    try:
        yield
    finally:
        threading.excepthook = excepthook
