"""The machine a process runs on."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import os
import pathlib
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")
#: Number of files to read at a time; from a bucket, each takes a tenth of a second.
_PARALLEL_READS = 32
#: Number of files that are in work or wait for it: each takes two kilobytes.
_QUEUED_READS = 2000


def read_in_parallel(read: Callable[[T], U], files: Iterable[T]) -> list[U]:
    """Returns what `read` returns for each file, in order."""
    waiting = iter(files)
    found: list[U] = []
    with concurrent.futures.ThreadPoolExecutor(_PARALLEL_READS) as pool:
        while block := list(itertools.islice(waiting, _QUEUED_READS)):
            found += pool.map(read, block)
    return found


def is_within(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> bool:
    """Whether a local path is the folder or lies in it, with all links followed."""
    inner, outer = (pathlib.Path(os.path.realpath(name)) for name in (path, folder))
    return inner.is_relative_to(outer)


def num_cores() -> int:
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux only.
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def kill_children() -> None:
    """Kills the processes that this process has started, and their children."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
