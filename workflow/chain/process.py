"""The process of a stage: its command line, its log file, and how it ends."""

from __future__ import annotations

import collections
import contextlib
import os
import pathlib
import shlex
import signal
import site
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

from stage import lifeline
from workflow.chain.errors import StageError

#: Directory of the packages; a stage imports them from where this process has.
_ROOT = pathlib.Path(__file__).parents[2]
#: Lines of a failed stage that are repeated.
_LAST_LINES = 8


def shown_command(arguments: Sequence[str]) -> str:
    """Returns the command line of a stage, to be typed."""
    return shlex.join(["python", *arguments])


class Processes:
    """The processes of stages that run; ended together.

    Args:
        threads: Threads of a network's operation; 0: all cores.
        keep_open: Files that stay open until the processes have ended.
    """

    def __init__(self, *, threads: int = 0, keep_open: Sequence[int] = ()) -> None:
        limits = {"TF_NUM_INTRAOP_THREADS": str(threads)} if threads else {}
        self._environment = {**environment(), **limits}
        self._keep_open = tuple(keep_open)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()
        self._is_ending = False

    def run(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        log_path: str,
        show: Callable[[str], None],
    ) -> None:
        """Runs a command; `show` receives its lines, which the log keeps.

        Args:
            name: Name of the stage.
            arguments: Arguments of Python.
            log_path: File that the command line and its output are added to.
            show: Receives each line of the output.

        Raises:
            StageError: If it ends with another status than 0.
        """
        with (
            lifeline.held() as (variables, descriptor),
            open(log_path, "ab", buffering=0) as log,
        ):
            log.write(f"$ {shown_command(arguments)}\n".encode(errors="replace"))
            process = self._start(name, arguments, variables, descriptor)
            last = _copy_lines(process, log.write, show)
            status = process.wait()
            with self._lock:
                del self._running[name]
        if status:
            raise StageError(_describe_failure(name, status, last, log_path))

    def _start(
        self,
        name: str,
        arguments: Sequence[str],
        variables: dict[str, str],
        descriptor: int,
    ) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._is_ending:
                raise StageError(f"{name}: not started")
            self._running[name] = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**self._environment, **variables},
                pass_fds=(descriptor, *self._keep_open),
                # Signals of the terminal reach this process, which passes them on.
                start_new_session=True,
            )
            return self._running[name]

    def end(self, number: int) -> None:
        """Passes a signal to all processes; no other is started afterwards."""
        with self._lock:
            self._is_ending = True
            for process in self._running.values():
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(number)

    def wait(self) -> None:
        """Returns when no process runs."""
        for process in list(self._running.values()):
            process.wait()


def environment() -> dict[str, str]:
    """Returns the variables of a stage's process.

    Modules of the working directory hide none, of the project or of Python.
    """
    # Where packages are installed, Python looks itself, after its own modules.
    is_installed = str(_ROOT) in (*site.getsitepackages(), site.getusersitepackages())
    paths = ["" if is_installed else str(_ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }


def _copy_lines(
    process: subprocess.Popen[bytes],
    write: Callable[[bytes], object],
    show: Callable[[str], None],
) -> Sequence[str]:
    """Copies the output line by line; returns the last lines."""
    last: collections.deque[str] = collections.deque(maxlen=_LAST_LINES)
    assert process.stdout is not None  # noqa: S101, as it is a pipe.
    with process.stdout as output:
        for line in output:
            write(line)
            text = line.decode(errors="replace").rstrip("\r\n")
            last.append(text)
            show(text)
    return tuple(last)


def _describe_failure(name: str, status: int, last: Sequence[str], log: str) -> str:
    how = f"status {status}"
    if status < 0:
        how = f"signal {signal.Signals(-status).name}"
    lines = "".join(f"\n  {line}" for line in last)
    return f"{name} ended with {how}; its last lines, of {log}:{lines}"
