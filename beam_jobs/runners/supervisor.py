"""Restarts a local job after one of its worker processes was killed.

FnApiRunner hangs when a worker process dies, so the process that runs the pipeline has
to be replaced. `supervised` forks a command before it has imported anything heavy: the
child runs it, the parent waits, and forks another child if the first asks for it.
"""

from __future__ import annotations

import mmap
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import NoReturn

from stage import cli, interruption, streams

#: Maximum number of worker deaths in a row without one more unit of work done.
MAX_DEATHS = 3
#: Seconds that a child may take to end after Ctrl-C: longer than what it does then.
_INTERRUPT_SECONDS = interruption.SECONDS + 2
#: Worker deaths in a row before this process was started.
_deaths_before = 0
#: One byte shared with the supervisor: worker deaths in a row, if this process asks for
#: a restart. No exit status means that, as libraries might exit with any.
_request: mmap.mmap | None = None


def supervised(main: cli.Main) -> cli.Main:
    """Returns `main` running in a child process, which may ask for a restart.

    The child ends with its parent, however that is ended.
    """

    def run(argv: Sequence[str]) -> None:
        # The system forgets how children ended if the caller has ignored SIGCHLD.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        deaths = 0
        while True:
            request = mmap.mmap(-1, 1)
            status = _fork(deaths, request)
            if status is None:
                main(argv)
                return
            deaths = request[0]
            if not deaths:
                sys.exit(status)

    return run


def end_after_death(
    code: str,
    *,
    has_progress: bool,
    log: cli.Log,
    save_log: Callable[[], str],
) -> NoReturn:
    """Ends this process at once; its supervisor restarts it if that may help.

    Args:
        code: Exit status of the worker process that died.
        has_progress: Whether a unit of work was done since this process started.
        log: Receives a line if the job is restarted.
        save_log: Keeps the log of the workers, returns a remark that names its file.
    """
    deaths = 1 if has_progress else _deaths_before + 1
    if deaths > MAX_DEATHS or _request is None:
        # Linux kills a process when memory runs out; the shell adds 128.
        hint = "; is there enough memory?" if code in ("-9", "137") else ""
        streams.warn(
            f"error: a worker process ended with {code}, {deaths} times in a row "
            f"without one more shard done{hint} {save_log()}"
        )
    else:
        log(f"a worker process ended with {code}; restarting the job")
        _request[0] = deaths
    # Last: the main thread may fail, and end this process, when workers are gone.
    cli.kill_children()
    os._exit(1)


def _fork(deaths: int, request: mmap.mmap) -> int | None:
    """Starts a child and waits for it.

    Returns:
        Exit status of the child, 128 + N after signal N; None in the child itself.
    """
    global _deaths_before, _request
    streams.flush()
    lifeline, held_by_parent = os.pipe()
    # Ctrl-C reaches both processes; the parent ends the child and its workers.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    child = os.fork()
    if not child:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if child:
        os.close(lifeline)
        with cli.on_interrupt(
            lambda: _interrupt(child, held_by_parent), _INTERRUPT_SECONDS
        ):
            _, status = os.waitpid(child, 0)
        os.close(held_by_parent)
        return _exit_status(status)
    os.close(held_by_parent)
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
    _deaths_before, _request = deaths, request
    return None


def _exit_status(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return code
    names = {int(number): number.name for number in signal.Signals}
    name = names.get(-code, f"signal {-code}")
    streams.warn(f"error: {name} ended the job; the same command resumes it")
    return 128 - code


def _interrupt(child: int, held_by_parent: int) -> str:
    """Has the child end as Ctrl-C ends a command; returns nothing to print."""
    os.write(held_by_parent, b"\0")
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    return ""


def _end_with_parent(lifeline: int) -> None:
    if os.read(lifeline, 1):  # Returns nothing when the other end is closed.
        cli.interrupt()
    try:
        cli.kill_children()
    finally:
        os._exit(1)
