"""Runs and their results: a file to which processes append side by side.

A process that works on a run holds a lock, which ends with it, so that a run that was
killed is begun again by the next process that looks for work.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunKey:
    """What identifies a run.

    Attributes:
        data: Name of the data set.
        labels_per_class: Number of labels of each class.
        seed: Seed of the draw and of the training.
        budget: Share of the demo's multiply-adds; 0 for a method without training.
        method: Name of the method.
        recipe: Fingerprint of all its settings.
    """

    data: str
    labels_per_class: int
    seed: int
    budget: float
    method: str
    recipe: str

    @property
    def name(self) -> str:
        """A name for files."""
        text = json.dumps(dataclasses.astuple(self)).encode()
        return f"{self.method}-{self.seed}-{hashlib.sha256(text).hexdigest()[:12]}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """The result of a run.

    Attributes:
        key: The run.
        accuracy: Accuracy of the last averaged network on the test images, in [0, 1].
        multiply_adds: All multiply-adds of the run.
        target: Multiply-adds that it was allowed.
        parts: Accuracies and counts of its stages, by name.
        seconds: Wall time.
        num_classes: Number of classes.
    """

    key: RunKey
    accuracy: float
    multiply_adds: float
    target: float
    parts: dict[str, Any]
    seconds: float
    num_classes: int


def read(path: pathlib.Path) -> dict[RunKey, Result]:
    """Returns the results in the file, empty if there is none.

    A line that was cut off, as by a full disk, is left out.
    """
    results: dict[RunKey, Result] = {}
    if path.exists():
        for line in path.read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                row = json.loads(line)
                key = RunKey(**row.pop("key"))
                results[key] = Result(key=key, **row)
    return results


def append(path: pathlib.Path, result: Result) -> None:
    """Appends a result in one write, on a line of its own."""
    line = json.dumps(dataclasses.asdict(result)) + "\n"
    with open(path, "ab+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(end - 1)
            line = line if file.read(1) == b"\n" else "\n" + line
        file.write(line.encode())


@contextlib.contextmanager
def claimed(path: pathlib.Path, *, wait: bool = False) -> Iterator[bool]:
    """Whether the lock file was free; if so, it is held meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
