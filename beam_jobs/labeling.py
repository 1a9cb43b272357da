"""The labeling job: plan it, run it, check that every image has its row."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from etils import epath

from beam_jobs import sources
from beam_jobs.inference import Labeling, LabelShards
from classifier import artifact
from classifier.predict import read_ensemble_facts
from classifier.sources import Source
from pseudo_label import prediction

SUMMARY = "summary.json"
#: Seconds between two looks at how many shards are done.
PROGRESS_INTERVAL = 0.5


@dataclasses.dataclass(frozen=True)
class Job:
    """A labeling job and the config that identifies it."""

    labeling: Labeling
    config: dict[str, Any]


def plan(source: Source, *, teachers: Sequence[str], top_k: int, output: str) -> Job:
    """Returns the job, after checking that the teachers are there and agree.

    Raises:
        ValueError: If their class lists differ or one is not complete.
        FileNotFoundError: If one is not there.
    """
    facts = read_ensemble_facts(teachers)
    class_names = facts[0]["class_names"]
    config = {
        "images": source.describe(),
        "teachers": [member["fingerprint"] for member in facts],
        "class_names": class_names,
        "top_k": min(top_k, len(class_names)),
    }
    labeling = Labeling(
        reader=source.reader,
        num_shards=len(source.shards),
        teachers=tuple(teachers),
        top_k=config["top_k"],
        output=output,
        fingerprint=artifact.config_fingerprint(config),
    )
    return Job(labeling, config)


def run(
    source: Source,
    labeling: Labeling,
    options: PipelineOptions,
    *,
    say: Callable[[str], None],
) -> None:
    """Labels the shards that are not labeled yet, telling how far it is."""
    output = epath.Path(labeling.output)
    for leftover in output.glob(".predictions-*"):  # Of a run that was killed.
        leftover.unlink()
    with _Progress(labeling, say), beam.Pipeline(options=options) as pipeline:
        _ = (
            pipeline
            | "Shards" >> sources.Shards(source)
            | "Label" >> beam.ParDo(LabelShards(labeling))
        )


def finish(labeling: Labeling) -> str:
    """Writes `summary.json`; returns it as a line.

    Raises:
        RuntimeError: If a shard has no predictions, or those of another job.
    """
    output = epath.Path(labeling.output)
    status: dict[str, int] = {}
    for index in range(labeling.num_shards):
        path = output / prediction.shard_name(index, labeling.num_shards)
        if not path.exists():
            raise RuntimeError(f"shard {index} was not labeled: no {path}")
        with path.open("rb") as file:
            facts = prediction.read_facts(file)
        if facts.fingerprint != labeling.fingerprint:
            raise RuntimeError(f"{path} was written by another labeling job")
        for name, count in facts.status_counts.items():
            status[name] = status.get(name, 0) + count
    images = sum(status.values())
    status = dict(sorted(status.items()))
    artifact.write_json(output / SUMMARY, {"images": images, "status": status})
    bad = ", ".join(
        f"{count} {name}" for name, count in status.items() if name != prediction.OK
    )
    return f"labeled {status.get(prediction.OK, 0):,} of {images:,} images" + (
        f" ({bad})" if bad else ""
    )


class _Progress:
    """Counts finished shards while the job runs, whichever runner runs it."""

    def __init__(self, labeling: Labeling, say: Callable[[str], None]) -> None:
        self._total = labeling.num_shards
        self._output = epath.Path(labeling.output)
        self._say = say
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._started = time.monotonic()
        self._before = self._count()
        if self._before:
            self._say(f"{self._before} of {self._total} shards are labeled already")
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._show(self._count())

    def _count(self) -> int:
        return sum(1 for _ in self._output.glob("predictions-*"))

    def _watch(self) -> None:
        shown = self._before
        while not self._stop.wait(PROGRESS_INTERVAL):
            count = self._count()
            if shown < count < self._total:
                self._show(count)
                shown = count

    def _show(self, count: int) -> None:
        done = count - self._before
        seconds = time.monotonic() - self._started
        left = (self._total - count) * seconds / done if done else 0.0
        self._say(
            f"shard {count}/{self._total}  ETA {int(left // 60)}:{int(left % 60):02d}"
        )
