"""What is done before Ctrl-C or SIGTERM ends the process. Imports nothing heavy."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TypeAlias

from stage.text import printable_lines

#: Receives the number of the signal; returns the line to print instead of the usual
#: one, or None for that.
OnInterrupt: TypeAlias = Callable[[int], str | None]
#: What to call if a signal ends the process, and the seconds that each may take.
_callbacks: list[tuple[OnInterrupt, float]] = []
_were_called = False
#: Receive the lines of `announce`.
_listeners: list[Callable[[str], object]] = []
#: Line to print as long as no callback has returned another one.
_announced: str | None = None


@contextlib.contextmanager
def on_interrupt(callback: OnInterrupt, *, seconds: float = 5) -> Iterator[None]:
    """Calls `callback` if Ctrl-C or SIGTERM ends the process while the block runs.

    The newest is called first, each in a thread of its own, as the main one may hold
    any lock; after `seconds` the process goes on without it. A second Ctrl-C does not
    wait, unless the main thread runs native code; a second SIGTERM does.
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


def announce(line: str) -> None:
    """Sets the line to print if the process ends before the calling callback has.

    So it does if the callback takes too long, or at a second Ctrl-C.
    """
    global _announced
    _announced = printable_lines(line)
    for listener in _listeners:
        listener(_announced)


def run_callbacks(
    number: int, *, on_announced: Callable[[str], object] | None = None
) -> str | None:
    """Calls the callbacks of `on_interrupt`, once; returns the newest one's line.

    That is what it has announced, if it has not returned yet. `on_announced` receives
    each line that is announced.
    """
    global _were_called
    if _were_called:
        return _announced
    _were_called = True
    if on_announced is not None:
        _listeners.append(on_announced)
    lines: list[str] = []

    def call(callback: OnInterrupt) -> None:
        with contextlib.suppress(Exception):  # The process ends in any case.
            line = callback(number)
            if line is not None:
                lines.append(line)

    for callback, seconds in reversed(tuple(_callbacks)):
        thread = threading.Thread(target=call, args=(callback,), daemon=True)
        thread.start()
        thread.join(seconds)
    return printable_lines(lines[0]) if lines else _announced
