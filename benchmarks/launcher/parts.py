"""What a launcher does beside the pipeline, part by part, in a process of its own."""

from __future__ import annotations

import collections
import json
import os
import pathlib
import re
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from beam_jobs.io import filesystems
from beam_jobs.labeling import job as labeling_job
from beam_jobs.labeling.progress import Progress
from benchmarks.launcher import inputs
from benchmarks.launcher.bucket_server import COUNTS
from pseudo_label.predictions.prediction_set import open_predictions
from stage import artifact


def run(task: Mapping[str, Any]) -> dict[str, Any]:
    """Returns figures of each part, and the memory of the process at its peak.

    `task` has the number of `shards`, and `parts`: the ones before the predictions are
    complete, or the ones after.
    """
    filesystems.register()
    job = inputs.make_job(task["shards"])
    before = _peak_mb()
    parts = _finished(job) if task["parts"] == "finished" else _opened(job)
    found = {name: _measure(part) for name, part in parts}
    return {"parts": found, "start_mb": before, "peak_mb": _peak_mb()}


def _finished(
    job: inputs.LabeledSource,
) -> Iterator[tuple[str, Callable[[], object]]]:
    labeling = job.labeling
    progress = Progress(labeling, lambda line: None, interval=1e9)

    def resume() -> None:
        artifact.start_or_resume(labeling.output, job.config)
        artifact.delete_unfinished(labeling.output)
        progress.__enter__()

    def end() -> None:
        progress.__exit__(None)
        artifact.delete_unfinished(labeling.output)

    yield "resumed: before submission", resume
    yield "one look while the job runs", progress.update
    yield "finished: the last look", end
    yield (
        "finished: every shard checked",
        lambda: labeling_job.finish(labeling, job.source.shards),
    )
    yield "finished: COMPLETED", lambda: artifact.complete(labeling.output, seconds=0.0)


def _opened(job: inputs.LabeledSource) -> Iterator[tuple[str, Callable[[], object]]]:
    output = job.labeling.output
    yield "opened by the next stage", lambda: open_predictions(output)
    yield "complete already", lambda: artifact.start_or_resume(output, job.config)


def _measure(part: Callable[[], object]) -> dict[str, float]:
    before, started = _read_counts(), time.monotonic()
    part()
    seconds = round(time.monotonic() - started, 1)
    counts = _read_counts()
    counts.subtract(before)
    return {"seconds": seconds, **{kind: n for kind, n in counts.items() if n}}


def _read_counts() -> collections.Counter[str]:
    with urllib.request.urlopen(os.environ["STORAGE_EMULATOR_HOST"] + COUNTS) as answer:
        return collections.Counter(json.load(answer))


def _peak_mb() -> float:
    """Returns the most memory since the start; `getrusage` counts the parent's too."""
    status = pathlib.Path("/proc/self/status").read_text()
    (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
    return int(kilobytes) / 1000
