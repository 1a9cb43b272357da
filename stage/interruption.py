"""What is done before Ctrl-C ends the process. Imports nothing heavy."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from stage.preemption import RESUMABLE

#: Returns what to print instead of the usual line, "" for nothing; None for that line.
Callback = Callable[[], str | None]
#: Seconds that a callback may take.
SECONDS = 5.0
_callbacks: dict[Callback, float] = {}


@contextlib.contextmanager
def on_interrupt(callback: Callback, seconds: float = SECONDS) -> Iterator[None]:
    """Has a callback called if Ctrl-C ends the process while the block runs.

    It runs in a thread, as the main one may hold any lock, and is not waited for longer
    than `seconds`.
    """
    _callbacks[callback] = seconds
    try:
        yield
    finally:
        del _callbacks[callback]


def call_back() -> str:
    """Calls all callbacks, side by side; returns what to print, with line ends."""
    said: list[str] = []

    def call(callback: Callback) -> None:
        with contextlib.suppress(Exception):  # The process ends in any case.
            line = callback()
            if line is not None:
                said.append(line)

    started = time.monotonic()
    threads = {
        threading.Thread(target=call, args=(callback,), daemon=True): seconds
        for callback, seconds in list(_callbacks.items())
    }
    for thread in threads:
        thread.start()
    for thread, seconds in threads.items():
        thread.join(max(0.0, started + seconds - time.monotonic()))
    lines = said or [f"interrupted; {RESUMABLE}"]
    return "".join(f"{line}\n" for line in lines if line)
