"""Waiting for items that native code makes, without losing sight of signals.

Python handles a signal in its main thread, and only between two of its own
instructions: while that thread is inside TensorFlow, waiting for a file server that
does not answer, neither Ctrl-C nor SIGTERM would have any effect.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

#: Seconds to wait for one item before asking whether to go on.
PATIENCE = 5.0


def in_background(
    items: Iterable[T], *, should_stop: Callable[[], bool]
) -> Iterator[T]:
    """Yields the items, which another thread makes when they are asked for.

    Raises:
        StalledError: If there was no item for `PATIENCE` seconds and `should_stop`.
    """
    requests: queue.SimpleQueue[bool] = queue.SimpleQueue()
    made: queue.SimpleQueue[tuple[list[T], BaseException | None]] = queue.SimpleQueue()

    def make() -> None:
        iterator = None
        while requests.get():
            try:
                iterator = iterator or iter(items)
                made.put(([next(iterator)], None))
            except StopIteration:
                made.put(([], None))
            except BaseException as error:
                made.put(([], error))

    # A daemon, because nothing can end it while it waits.
    threading.Thread(target=make, daemon=True).start()
    try:
        while True:
            requests.put(True)
            item, error = _get(made, should_stop)
            if error is not None:
                raise error
            if not item:
                return
            yield item[0]
    finally:
        requests.put(False)


class StalledError(Exception):
    """There was no item, and none is wanted any more."""


def _get(made: queue.SimpleQueue[T], should_stop: Callable[[], bool]) -> T:
    while True:
        try:
            return made.get(timeout=PATIENCE)
        except queue.Empty:
            if should_stop():
                raise StalledError from None
