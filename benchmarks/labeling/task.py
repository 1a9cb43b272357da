"""One way to label images, and the log of its run; imports nothing heavy."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import json
import os
import pathlib
import tempfile
import time
from typing import Any

#: Images per call, of ours and of every peer.
BATCH_SIZE = 64
RECORDS = "*.tfrecord"
JPEGS = "*.jpg"
#: By way: its module, and the packages that it needs.
PEERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "bare": ("bare", ("tensorflow",)),
    "onnxruntime": ("onnx_runtime", ("onnxruntime",)),
    "stock": ("beam_stock", ("apache_beam",)),
    "ray": ("ray_data", ("ray",)),
    "timm": ("timm_compiled", ("timm", "torchvision")),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelingTask:
    """Images to label, and how.

    Attributes:
        way: Program that labels: `ours`, or a key of `PEERS`.
        classifier: Directory of the exported classifier.
        records: Directory of the images in TFRecords.
        jpegs: Directory of the distinct images as files.
        num_images: Number of images in the records.
        engine: Name in `classifier.inference.engine`; None for the automatic choice.
        dtype: Computation type of the engine; None for the automatic choice.
        processes: Number of processes that label side by side.
        threads: Threads per process.
        loaders: Further processes that decode, per process; timm's only.
        batch: Images per call; timm's only.
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

    def record_files(self) -> list[str]:
        """Returns the paths of the TFRecords, in order."""
        return sorted(map(str, pathlib.Path(self.records).glob(RECORDS)))

    def jpeg_files(self) -> list[str]:
        """Returns `num_images` paths of JPEGs, repeated where there are fewer."""
        paths = sorted(map(str, pathlib.Path(self.jpegs).glob(JPEGS)))
        repeats = -(-self.num_images // len(paths))
        return (paths * repeats)[: self.num_images]


@dataclasses.dataclass(frozen=True)
class RunLog:
    """Log of a run: a directory where each process appends to files of its own."""

    directory: str

    def add_load(self) -> None:
        """Logs that this process has loaded the model."""
        self._append("loads", "1")

    def add_batch(self, started: float, num_images: int) -> None:
        """Logs a batch that began at `started` and has ended now."""
        self._append("batches", json.dumps([started, time.time(), num_images]))

    def loads(self) -> list[int]:
        """Returns the number of loads of each process that loaded the model."""
        return [len(lines) for lines in self._read("loads")]

    def total(self) -> dict[str, float]:
        """Returns `begin`, the time of the first batch, and images_per_second."""
        lines = itertools.chain.from_iterable(self._read("batches"))
        batches = list(map(json.loads, lines))
        if not batches:
            raise ValueError(f"expected batches in {self.directory}, got none")
        starts, ends, counts = zip(*batches, strict=True)
        seconds = max(ends) - min(starts)
        return {"begin": min(starts), "images_per_second": sum(counts) / seconds}

    def _append(self, kind: str, line: str) -> None:
        path = pathlib.Path(self.directory) / f"{os.getpid()}.{kind}"
        with path.open("a") as file:
            file.write(line + "\n")

    def _read(self, kind: str) -> list[list[str]]:
        paths = sorted(pathlib.Path(self.directory).glob(f"*.{kind}"))
        return [path.read_text().splitlines() for path in paths]


def run(fields: dict[str, Any]) -> dict[str, float]:
    """Runs a peer in this process (see `benchmarks.measuring.peers`)."""
    task = LabelingTask(**fields)
    module, _ = PEERS[task.way]
    peer = importlib.import_module(f"benchmarks.labeling.{module}")
    with tempfile.TemporaryDirectory() as directory:
        run_log = RunLog(directory)
        peer.run(task, run_log)
        return run_log.total()
