"""Signals that ask a run to save its state and stop: SIGTERM and Ctrl-C.

SIGTERM is the notice that the machine is about to be preempted. Packages that hold
commands import this module first, so that Ctrl-C is one line during further imports.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

#: Exit status of a preempted run that has saved its state and continues if started
#: again: `EX_TEMPFAIL` of BSD's sysexits.
EXIT_STATUS = 75
#: Exit status that a shell reports for a program ended by Ctrl-C.
INTERRUPTED = 130
#: Signals that end a command with a line.
SIGNALS = (signal.SIGINT, signal.SIGTERM)
RESUMABLE = "the same command resumes it"


def interrupt(*_: object) -> None:
    """Says so and ends the process at once."""
    # Not by methods of `sys.stderr`, one of which the signal may have interrupted.
    os.write(2, f"interrupted; {RESUMABLE}\n".encode())
    os._exit(INTERRUPTED)


# The name of a program that `python -m` runs, until its module is found.
if sys.argv[:1] == ["-m"]:
    signal.signal(signal.SIGINT, interrupt)


class PreemptedError(Exception):
    """The run was asked to stop, and has saved its state."""

    def __init__(self, message: str, *, status: int = EXIT_STATUS) -> None:
        super().__init__(message)
        self.status = status


class Notice:
    """Whether this process was asked to stop, by SIGTERM or by one Ctrl-C.

    Attributes:
        has_work: Whether there is something to save; otherwise Ctrl-C ends at once.
    """

    def __init__(self) -> None:
        self.has_work = False
        self._signal: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    @property
    def given(self) -> bool:
        """Whether the process was asked to stop."""
        return self._signal is not None

    def error(self, step: int) -> PreemptedError:
        """Returns what to raise once the state after `step` steps is saved.

        Before the first step there is nothing to save.
        """
        received = self._signal or signal.SIGTERM
        is_interrupt = received == signal.SIGINT
        return PreemptedError(
            f"{received.name} received; "
            + (f"saved at step {step}" if step else "nothing to save yet"),
            status=INTERRUPTED if is_interrupt else EXIT_STATUS,
        )

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            if self._signal == signal.SIGINT or not self.has_work:
                signal.signal(number, self._before[signal.SIGINT])
                os.kill(os.getpid(), number)
                return
            # Not `print`, which may be what the signal has interrupted.
            os.write(2, b"interrupted; saving after this step, again ends at once\n")
        self._signal = signal.Signals(number)


@contextlib.contextmanager
def watched(*, is_alone: bool) -> Iterator[Notice]:
    """Takes SIGTERM and the first Ctrl-C as a notice while the block runs.

    A second Ctrl-C, and one before there is work to save, does what one does outside.
    With several processes, JAX handles SIGTERM, and Ctrl-C ends at once.
    """
    notice = Notice()
    if not is_alone:
        yield notice
        return
    for asked in SIGNALS:
        notice._before[asked] = signal.signal(asked, notice._receive)
    try:
        yield notice
    finally:
        for asked, handler in notice._before.items():
            signal.signal(asked, handler)
