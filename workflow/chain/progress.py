"""What is shown while stages run: lines, and below them a bar on a terminal."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

#: Receives a line for the user.
Log = Callable[[str], None]
_FORMAT = "[{bar:20}] {n_fmt} of {total_fmt} stages{desc}"


class ChainProgress:
    """Shows lines of stages and, with a bar, which of them run.

    Args:
        log: Receives each line.
        total: Number of stages.
        has_bar: Whether the output is a terminal, on which a bar can stay below.
    """

    def __init__(self, log: Log, *, total: int, has_bar: bool) -> None:
        self._log = log
        self._running: list[str] = []
        self._lock = threading.Lock()
        self._bar: Any = None
        if has_bar:
            self._bar = tqdm(
                total=total,
                bar_format=_FORMAT,
                file=sys.stdout,
                leave=False,
                dynamic_ncols=True,
            )

    def __enter__(self) -> ChainProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def line(self, text: str) -> None:
        """Shows a line, above the bar."""
        if self._bar is None:
            self._log(text)
            return
        with tqdm.external_write_mode(file=sys.stdout):
            self._log(text)

    def begin(self, name: str) -> None:
        """Shows that a stage runs."""
        self.line(f"{name}: started")
        with self._lock:
            self._running.append(name)
        self._show()

    def end(self, name: str) -> None:
        """Shows that a stage is done, whether or not it was run."""
        with self._lock:
            if name in self._running:
                self._running.remove(name)
        if self._bar is not None:
            self._bar.update()
        self._show()

    def close(self) -> None:
        """Removes the bar."""
        if self._bar is not None:
            self._bar.close()

    def _show(self) -> None:
        if self._bar is not None:
            with self._lock:
                names = ", ".join(self._running)
            self._bar.set_description_str(f": {names}" if names else "")
