"""One run of one way to label images, and what its processes say about it."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import time
from typing import NamedTuple

#: Images that every peer is given at once, as ours is.
BATCH_SIZE = 64
RECORDS = "*.tfrecord"
JPEGS = "*.jpg"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """What a run labels, and how.

    Attributes:
        way: Which program labels: `ours`, or one of `labeling_peers.PEERS`.
        classifier: Directory of the exported classifier.
        records: Directory of the images in TFRecords.
        jpegs: Directory of the same images as files, fewer: those repeat.
        num_images: In the records.
        engine: Of `classifier.inference.engine`; None for the tuned choice.
        dtype: Likewise.
        processes: That label side by side.
        threads: Of each of them.
        loaders: Further processes that decode, of each of them.
        batch: Images of a call, where the way leaves a choice.
    """

    way: str
    classifier: str
    records: str
    jpegs: str
    num_images: int
    engine: str | None = None
    dtype: str | None = None
    processes: int = 1
    threads: int = 1
    loaders: int = 0
    batch: int = BATCH_SIZE

    def to_json(self) -> str:
        """Returns what `from_json` reads."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Task:
        """Returns the task that was written."""
        return cls(**json.loads(text))

    def record_files(self) -> list[str]:
        """Returns the paths of the records, in order."""
        return sorted(map(str, pathlib.Path(self.records).glob(RECORDS)))

    def jpeg_files(self) -> list[str]:
        """Returns the path of each image, in order."""
        paths = sorted(map(str, pathlib.Path(self.jpegs).glob(JPEGS)))
        repeats = -(-self.num_images // len(paths))
        return (paths * repeats)[: self.num_images]


class Total(NamedTuple):
    """What all processes did together.

    Attributes:
        num_images: That were labeled.
        begin: Of the first image, in seconds since the epoch.
        seconds: From there to the end of the last.
    """

    num_images: int
    begin: float
    seconds: float


@dataclasses.dataclass(frozen=True)
class Timesheet:
    """What the processes of a run were doing when; each writes files of its own.

    Attributes:
        directory: Of the files.
    """

    directory: str

    def note_load(self) -> None:
        """Notes that this process has loaded the model."""
        self._append("loads", "1")

    def note_batch(self, started: float, num_images: int) -> None:
        """Notes images that are labeled now, the first of them begun at `started`."""
        self._append("batches", json.dumps([started, time.time(), num_images]))

    def loads(self) -> list[int]:
        """Returns how often each process that loaded the model has done so."""
        return [len(lines) for lines in self._read("loads")]

    def total(self) -> Total:
        """Returns what was done.

        Raises:
            ValueError: If nothing was labeled.
        """
        batches = [
            json.loads(line) for lines in self._read("batches") for line in lines
        ]
        if not batches:
            raise ValueError(f"no images were labeled, says {self.directory}")
        starts, ends, counts = zip(*batches, strict=True)
        return Total(sum(counts), min(starts), max(ends) - min(starts))

    def _append(self, kind: str, line: str) -> None:
        path = pathlib.Path(self.directory) / f"{os.getpid()}.{kind}"
        with path.open("a") as file:
            file.write(line + "\n")

    def _read(self, kind: str) -> list[list[str]]:
        paths = sorted(pathlib.Path(self.directory).glob(f"*.{kind}"))
        return [path.read_text().splitlines() for path in paths]
