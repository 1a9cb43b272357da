"""Restarts a local job after one of its worker processes was killed.

FnApiRunner hangs when a worker process dies, so the process that runs the pipeline has
to be replaced. `supervised` forks a command before it has imported anything heavy: the
child runs it, the parent waits, and forks another child if the first asks for it.

The parent handles Ctrl-C and SIGTERM: it lets the child call its callbacks of
`stage.interruption`, prints what they return or have announced, and ends the child. A
SIGTERM to the whole group ends the workers meanwhile, which is not the job's failure.
"""

from __future__ import annotations

import functools
import math
import mmap
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import NoReturn

from stage import cli, interruption, preemption, streams, system

#: Maximum number of worker deaths in a row without one more unit of work done.
MAX_DEATHS = 3
#: Seconds in which a child says how long its callbacks may take; native code may hold
#: Python's lock.
_ANSWER_SECONDS = 1
#: Maximum seconds of a child's callbacks, one byte.
_MAX_SECONDS = 255
#: Statuses of a worker that SIGTERM has ended; the shell adds 128.
_TERMINATED = ("-15", "143")
#: Seconds in which the parent acts on a SIGTERM that it has received with a worker.
_NOTICE_SECONDS = 1
#: Whether the parent is about to end this process.
_is_ending = threading.Event()
#: Worker deaths in a row before this process was started.
_deaths_before = 0
#: Ends a line that the child sends.
_END = b"\0"
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
    if code in _TERMINATED and _is_ending.wait(_NOTICE_SECONDS):
        _wait_for_end()
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
    system.kill_children()
    os._exit(1)


def _fork(deaths: int, request: mmap.mmap) -> int | None:
    """Starts a child and waits for it.

    Returns:
        Exit status of the child, 128 + N after signal N; None in the child itself.
    """
    global _deaths_before, _request
    streams.flush()
    lifeline, held_by_parent = os.pipe()
    answers, held_by_child = os.pipe()
    ask = functools.partial(_ask_child, held_by_parent, answers)
    # Ctrl-C reaches both processes; the parent ends the child and its workers.
    signal.pthread_sigmask(signal.SIG_BLOCK, preemption.SIGNALS)
    child = os.fork()
    if child:
        os.close(lifeline)
        os.close(held_by_child)
        with interruption.on_interrupt(ask, seconds=_ANSWER_SECONDS + _MAX_SECONDS):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, preemption.SIGNALS)
            _, status = os.waitpid(child, 0)
            cli.wait_if_interrupted()  # By a thread that has ended the child.
        os.close(held_by_parent)
        os.close(answers)
        return _exit_status(status)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Not ignored: workers would inherit that. By the pipe of `cli`, which both have,
    # the parent learns of a signal that the child alone has got. The main thread, which
    # would fail without the workers, waits for the parent.
    signal.signal(signal.SIGTERM, _wait_for_end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, preemption.SIGNALS)
    os.close(held_by_parent)
    os.close(answers)
    threading.Thread(
        target=_serve_parent, args=(lifeline, held_by_child), daemon=True
    ).start()
    _deaths_before, _request = deaths, request
    return None


def _wait_for_end(*_: object) -> NoReturn:
    """Lets the calling thread do no more, as the parent ends this process."""
    while True:
        signal.pause()


def _ask_child(requests: int, answers: int, number: int) -> None:
    """Lets the child call its callbacks; announces the lines that it sends."""
    os.write(requests, bytes([number]))
    seconds = os.read(answers, 1) if _can_read(answers, _ANSWER_SECONDS) else b""
    received = b""
    while seconds and _can_read(answers, seconds[0]):
        part = os.read(answers, select.PIPE_BUF)
        if not part:
            return
        *lines, received = (received + part).split(_END)
        for line in lines:
            interruption.announce(line.decode(errors="replace"))


def _can_read(pipe: int, seconds: float) -> bool:
    return bool(select.select([pipe], [], [], seconds)[0])


def _serve_parent(lifeline: int, answers: int) -> None:
    """Calls the callbacks if the parent asks for it; ends with the parent."""

    def send(line: str) -> None:
        os.write(answers, line.encode()[: select.PIPE_BUF - 1] + _END)

    if number := os.read(lifeline, 1):  # Else the other end is closed.
        _is_ending.set()
        seconds = min(math.ceil(interruption.interrupt_seconds()) + 1, _MAX_SECONDS)
        os.write(answers, bytes([seconds]))
        line = interruption.run_callbacks(number[0], on_announced=send)
        if line:
            send(line)
        os.close(answers)
        os.read(lifeline, 1)
    try:
        system.kill_children()
    finally:
        os._exit(1)


def _exit_status(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return code
    names = {int(number): number.name for number in signal.Signals}
    name = names.get(-code, f"signal {-code}")
    streams.warn(f"error: {name} ended the job; the same command resumes it")
    return 128 - code
