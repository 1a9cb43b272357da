"""The notice that a machine is about to be taken away: SIGTERM."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

#: Exit status of a run that was told to end, has saved its state, and goes on when
#: started again: `EX_TEMPFAIL` of BSD's sysexits.
EXIT_STATUS = 75


class PreemptedError(Exception):
    """A run was told to end, and has saved its state."""


class Notice:
    """Whether this process was told to end."""

    def __init__(self) -> None:
        self.given = False

    def _receive(self, *_: object) -> None:
        self.given = True


@contextlib.contextmanager
def watched(*, is_alone: bool) -> Iterator[Notice]:
    """Listens for SIGTERM while the block runs.

    Args:
        is_alone: Whether there is no other process; JAX listens itself where there is.
    """
    notice = Notice()
    if not is_alone:
        yield notice
        return
    before = signal.signal(signal.SIGTERM, notice._receive)
    try:
        yield notice
    finally:
        signal.signal(signal.SIGTERM, before)
