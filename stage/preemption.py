"""SIGTERM as the notice that the machine is about to be preempted."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

#: Exit status of a preempted run that has saved its state and continues if started
#: again: `EX_TEMPFAIL` of BSD's sysexits.
EXIT_STATUS = 75


class PreemptedError(Exception):
    """The run was preempted, and has saved its state."""


class Notice:
    """Whether this process has received SIGTERM."""

    def __init__(self) -> None:
        self.given = False

    def _receive(self, *_: object) -> None:
        self.given = True


@contextlib.contextmanager
def watched(*, is_alone: bool) -> Iterator[Notice]:
    """Handles SIGTERM while the block runs; with several processes, JAX handles it."""
    notice = Notice()
    if not is_alone:
        yield notice
        return
    before = signal.signal(signal.SIGTERM, notice._receive)
    try:
        yield notice
    finally:
        signal.signal(signal.SIGTERM, before)
