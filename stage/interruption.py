"""What is done before Ctrl-C ends the process. Imports nothing heavy."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TypeAlias

from stage.text import printable_lines

#: Returns the line to print instead of the usual one, or None for that.
OnInterrupt: TypeAlias = Callable[[], str | None]
#: What to call if Ctrl-C ends the process, and the seconds that each may take.
_callbacks: list[tuple[OnInterrupt, float]] = []
_were_called = False


@contextlib.contextmanager
def on_interrupt(callback: OnInterrupt, *, seconds: float = 5) -> Iterator[None]:
    """Calls `callback` if Ctrl-C ends the process while the block runs.

    The newest is called first, each in a thread of its own, as the main one may hold
    any lock; after `seconds` the process goes on without it. A second Ctrl-C does not
    wait, unless the main thread runs native code.
    """
    entry = (callback, seconds)
    _callbacks.append(entry)
    try:
        yield
    finally:
        _callbacks.remove(entry)


def interrupt_seconds() -> float:
    """Returns how long the callbacks of `on_interrupt` may take."""
    return sum(seconds for _, seconds in _callbacks)


def run_callbacks() -> str | None:
    """Calls the callbacks of `on_interrupt`, once; returns the newest one's line."""
    global _were_called
    if _were_called:
        return None
    _were_called = True
    lines: list[str] = []

    def call(callback: OnInterrupt) -> None:
        with contextlib.suppress(Exception):  # The process ends in any case.
            line = callback()
            if line is not None:
                lines.append(line)

    for callback, seconds in reversed(tuple(_callbacks)):
        thread = threading.Thread(target=call, args=(callback,), daemon=True)
        thread.start()
        thread.join(seconds)
    return printable_lines(lines[0]) if lines else None
