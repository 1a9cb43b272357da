"""Runs the relabeling job, and its parts one by one."""

from __future__ import annotations

import dataclasses
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import threadpoolctl

from beam_jobs.relabeling import job as relabeling_job
from beam_jobs.relabeling import worker
from benchmarks.measuring.process_watch import watch
from benchmarks.measuring.turns import Figures
from benchmarks.relabeling.inputs import RelabelingInputs, Shape, open_inputs
from classifier.export.facts import read_facts
from classifier.export.head import read_head
from pseudo_label.predictions import embeddings
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.embeddings import EMBEDDING_NORM

#: Images of a run that takes as long as the start and the end of every run.
FEW_IMAGES = 1000
_REPEATS = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class RelabelRun:
    """A relabeling, whether it writes embeddings, and how many classes it keeps."""

    inputs: RelabelingInputs
    embeddings: bool
    top_k: int


def measure(run: RelabelRun, shape: Shape) -> Figures:
    """Returns rows a second of the whole job, and what takes the time in a process."""
    with tempfile.TemporaryDirectory(dir=run.inputs.teacher.parent) as directory:
        root = pathlib.Path(directory)
        few = dataclasses.replace(shape, images=FEW_IMAGES)
        start = dataclasses.replace(run, inputs=open_inputs(root, few))
        overhead = watch(_command(start, root / "few")).usage["seconds"]
        usage = watch(_command(run, root / "all")).usage
        seconds = usage["seconds"] - overhead
        rows = {"rows_per_second": round((shape.images - FEW_IMAGES) / seconds)}
        return {**rows, "peak_gb": usage["peak_gb"], **_shares(run, root / "parts")}


def _command(run: RelabelRun, output: pathlib.Path) -> list[str]:
    return [
        *(sys.executable, "-m", "beam_jobs.relabel"),
        f"--predictions={run.inputs.predictions}",
        f"--teacher={run.inputs.teacher}",
        f"--output={output}",
        f"--top_k={run.top_k}",
        *([] if run.embeddings else ["--noembeddings"]),
    ]


def _shares(run: RelabelRun, output: pathlib.Path) -> Figures:
    """Returns what reading, multiplying and writing take of a shard's seconds."""
    request = relabeling_job.RelabelingRequest(
        predictions=str(run.inputs.predictions),
        teacher=str(run.inputs.teacher),
        top_k=run.top_k,
        embeddings=run.embeddings,
    )
    relabeling = relabeling_job.plan(request, output=str(output)).relabeling
    output.mkdir()
    head = read_head(relabeling.teacher, read_facts(relabeling.teacher))
    path = relabeling.predictions.path(0)

    def read() -> list[Any]:
        size, columns = head.embedding_size, worker.read_columns(relabeling)
        return [
            (table, embeddings.to_matrix(table, size, path=path, first=0))
            for table in prediction_schema.read_rows(path, columns)
        ]

    def multiply() -> None:
        for table, halves in tables:
            norms = table[EMBEDDING_NORM].to_numpy()
            top_k = relabeling.top_k
            worker.predict(head, halves, norms, temperature=1.0, top_k=top_k)

    with threadpoolctl.threadpool_limits(1):
        tables = read()
        parts = {"reading": _time(read), "multiplying": _time(multiply)}
        total = _time(lambda: worker.relabel_shard(relabeling, head, 0))
    parts["writing"] = total - sum(parts.values())
    rows = sum(len(halves) for _, halves in tables)
    shares = {name: seconds / total for name, seconds in parts.items()}
    return {"us_per_row": 1e6 * total / rows, **shares}


def _time(run: Callable[[], Any]) -> float:
    """Returns the fewest processor seconds of several runs."""
    seconds = []
    for _ in range(_REPEATS):
        started = time.process_time()
        run()
        seconds.append(time.process_time() - started)
    return min(seconds)
