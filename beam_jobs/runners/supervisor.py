"""Starts a local job again after one of its worker processes was killed.

FnApiRunner hangs when a worker process dies, so the process that runs the pipeline has
to be replaced. `supervised` forks a command before it has imported anything heavy: the
child runs it, the parent waits, and forks another child where the first asks for it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import NoReturn

from stage import cli

Main = Callable[[Sequence[str]], None]

#: Maximum number of worker deaths in a row without one more unit of work done.
MAX_DEATHS = 3
#: Exit status of a child that asks for a restart, minus the worker deaths in a row.
_RESTART = 100
#: Worker deaths in a row before this process was started; None without a supervisor.
_deaths_before: int | None = None


def supervised(main: Main) -> Main:
    """Returns `main` running in a child process, which may ask for a restart.

    The child ends with its parent, however that is ended.
    """

    def run(argv: Sequence[str]) -> None:
        deaths = 0
        while True:
            status = _fork(deaths)
            if status is None:
                main(argv)
                return
            if not _RESTART < status <= _RESTART + MAX_DEATHS:
                sys.exit(status)
            deaths = status - _RESTART

    return run


def end_after_death(
    code: str,
    *,
    has_progress: bool,
    log: Callable[[str], None],
    save_log: Callable[[], str],
) -> NoReturn:
    """Ends this process at once; its supervisor starts it again if that may help.

    Args:
        code: Exit status of the worker process that died.
        has_progress: Whether a unit of work was done since this process started.
        log: Receives a line if the job is restarted.
        save_log: Keeps the log of the workers in a file, returns its path.
    """
    cli.kill_children()
    deaths = 1 if has_progress else (_deaths_before or 0) + 1
    if deaths > MAX_DEATHS or _deaths_before is None:
        sys.stderr.write(
            f"error: a worker process ended with {code}, {deaths} times in a row "
            "without one more shard done; is there enough memory? (more in "
            f"{save_log()})\n"
        )
        sys.stderr.flush()
        os._exit(1)
    log(f"a worker process ended with {code}; restarting the job")
    os._exit(_RESTART + deaths)


def _fork(deaths: int) -> int | None:
    """Starts a child and waits for it.

    Returns:
        Exit status of the child, 128 + N after signal N; None in the child itself.
    """
    global _deaths_before
    sys.stdout.flush()
    sys.stderr.flush()
    lifeline, held_by_parent = os.pipe()
    child = os.fork()
    if child:
        os.close(lifeline)
        _, status = os.waitpid(child, 0)
        os.close(held_by_parent)
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            sys.stderr.write(
                f"error: the job was ended by {signal.Signals(-code).name}; the same "
                "command resumes it\n"
            )
        return code if code >= 0 else 128 - code
    os.close(held_by_parent)
    # The parent ends this process and its workers on Ctrl-C.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
    _deaths_before = deaths
    return None


def _end_with_parent(lifeline: int) -> None:
    os.read(lifeline, 1)  # Returns when the other end is closed.
    cli.kill_children()
    os._exit(1)
