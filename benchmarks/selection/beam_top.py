"""Plain Beam: Top.LargestPerKey on the local runner."""

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

from benchmarks.selection.task import CONFIDENCE_THRESHOLD, CutOff, SelectionTask
from stage.system import num_cores

#: Confidence, and the inverted hash of the key: the lower hash ranks first.
Rank = tuple[float, int]
_ALL_BITS = 2**64 - 1


def run(task: SelectionTask) -> list[CutOff]:
    """Returns the cut-offs, found in one process or in one per core."""
    files = sorted(map(str, pathlib.Path(task.predictions).glob("*.parquet")))
    if task.way.endswith("processes"):
        workers, mode = num_cores(), "multi_processing"
    else:
        workers, mode = 1, "in_memory"
    options = PipelineOptions(
        [], runner="FnApiRunner", direct_num_workers=workers, direct_running_mode=mode
    )
    with tempfile.TemporaryDirectory() as directory:
        output = f"{directory}/cut_offs.json"
        with beam.Pipeline(options=options) as pipeline:
            _ = (
                pipeline
                | beam.Create(files)
                | beam.Reshuffle()
                | "Read" >> beam.FlatMap(read_ranks)
                | beam.combiners.Top.LargestPerKey(task.images_per_class)
                | "Cut" >> beam.MapTuple(find_cut_off)
                | beam.combiners.ToList()
                | "Write" >> beam.Map(_write, output)
            )
        return [CutOff(*row) for row in json.loads(pathlib.Path(output).read_text())]


def read_ranks(path: str) -> Iterator[tuple[int, Rank]]:
    """Yields label and rank of each confident row of a file."""
    rows = pq.read_table(path, columns=["label", "confidence", "key_hash"])
    threshold = np.float32(CONFIDENCE_THRESHOLD)
    rows = rows.filter(pc.greater_equal(rows["confidence"], threshold))
    inverted = ~rows["key_hash"].to_numpy()
    ranks = zip(rows["confidence"].to_pylist(), inverted.tolist(), strict=True)
    yield from zip(rows["label"].to_pylist(), ranks, strict=True)


def find_cut_off(label: int, best: Sequence[Rank]) -> CutOff:
    """Returns the cut-off of a class, from its best ranks in order."""
    confidence, inverted = best[-1]
    return CutOff(label, len(best), confidence, _ALL_BITS - inverted)


def _write(cut_offs: Sequence[CutOff], path: str) -> None:
    pathlib.Path(path).write_text(json.dumps(cut_offs))
