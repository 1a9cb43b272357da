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
import pathlib
from collections.abc import Iterator
from typing import Any

from stage import typed_json
from stage.typed_json import Count, NonNegative, PositiveCount, Share


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunKey:
    """What identifies a run.

    Attributes:
        data: Name of the data set, with a fingerprint of the files if it is a folder.
        labels_per_class: Number of labels of each class.
        seed: Seed of the draw and of the training.
        budget: Share of the demo's multiply-adds; 0 for a method without training.
        method: Name of the method.
        recipe: Fingerprint of all its settings.
    """

    data: str
    labels_per_class: Count
    seed: Count
    budget: NonNegative
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
    accuracy: Share
    multiply_adds: NonNegative
    target: NonNegative
    parts: dict[str, Any]
    seconds: NonNegative
    num_classes: PositiveCount


def read(path: pathlib.Path) -> dict[RunKey, Result]:
    """Returns the results in the file, empty if there is none.

    A last line that was cut off, as by a full disk, is left out.

    Raises:
        ValueError: If another line is no result.
        OSError: If the file cannot be read.
    """
    content = path.read_bytes() if path.exists() else b""
    results: dict[RunKey, Result] = {}
    for number, line in enumerate(_whole(content).split(b"\n"), start=1):
        if line.strip():
            result = typed_json.parse(line, Result, f"{path}, line {number}")
            results[result.key] = result
    return results


def append(path: pathlib.Path, result: Result) -> None:
    """Appends a result in one write, on a line of its own.

    It takes the place of a last line that was cut off.
    """
    line = json.dumps(dataclasses.asdict(result)) + "\n"
    with open(path, "ab+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        whole = _whole(file.read())
        file.truncate(len(whole))
        line = line if whole.endswith(b"\n") or not whole else "\n" + line
        file.write(line.encode())


def _whole(content: bytes) -> bytes:
    """Returns the content without a last line that was cut off."""
    lines, end, last = content.rpartition(b"\n")
    try:
        json.loads(last)
    except ValueError:
        return lines + end
    return content


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
