"""Beam's own way: Top.LargestPerKey on the local runner."""

from __future__ import annotations

import json
import pathlib
import tempfile
from collections.abc import Iterator, Sequence

import apache_beam as beam
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.options.pipeline_options import PipelineOptions

from benchmarks.selection.task import CONFIDENCE_THRESHOLD, CutOff, Task
from stage.system import num_cores

#: Confidence, and the hash of the key with all bits turned, as the lower comes first.
Place = tuple[float, int]
_ALL_BITS = 2**64 - 1


def run(task: Task) -> list[CutOff]:
    """Returns the cut-offs, found in one process or in one for each core."""
    files = sorted(map(str, pathlib.Path(task.predictions).glob("*.parquet")))
    options = PipelineOptions(["--runner=FnApiRunner", *_workers(task.way)])
    with tempfile.TemporaryDirectory() as directory:
        output = f"{directory}/cut_offs.json"
        with beam.Pipeline(options=options) as pipeline:
            _ = (
                pipeline
                | beam.Create(files)
                | beam.Reshuffle()
                | "Read" >> beam.FlatMap(read_places)
                | beam.combiners.Top.LargestPerKey(task.images_per_class)
                | "Cut" >> beam.MapTuple(cut_off_of)
                | beam.combiners.ToList()
                | "Write" >> beam.Map(_write, output)
            )
        return [CutOff(*row) for row in json.loads(pathlib.Path(output).read_text())]


def read_places(path: str) -> Iterator[tuple[int, Place]]:
    """Yields label and place of each confident row of a file."""
    rows = pq.read_table(path, columns=["label", "confidence", "key_hash"])
    threshold = np.float32(CONFIDENCE_THRESHOLD)
    rows = rows.filter(pc.greater_equal(rows["confidence"], threshold))
    turned = ~rows["key_hash"].to_numpy()
    places = zip(rows["confidence"].to_pylist(), turned.tolist(), strict=True)
    yield from zip(rows["label"].to_pylist(), places, strict=True)


def cut_off_of(label: int, best: Sequence[Place]) -> CutOff:
    """Returns the cut-off of a class, from its best places in order."""
    confidence, turned = best[-1]
    return CutOff(label, len(best), confidence, _ALL_BITS - turned)


def _workers(way: str) -> list[str]:
    if not way.endswith("processes"):
        return ["--direct_num_workers=1", "--direct_running_mode=in_memory"]
    return [
        f"--direct_num_workers={num_cores()}",
        "--direct_running_mode=multi_processing",
    ]


def _write(cut_offs: Sequence[CutOff], path: str) -> None:
    pathlib.Path(path).write_text(json.dumps(cut_offs))
