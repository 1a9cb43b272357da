"""The relabeling job: its inputs, what decides its output, and its pipeline."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from etils import epath

from beam_jobs.io import filesystems
from beam_jobs.io import shards as io_shards
from beam_jobs.relabeling import worker
from beam_jobs.relabeling.worker import Relabeling
from beam_jobs.runners import run as runners
from beam_jobs.runners.options import PipelineJob, spread
from classifier.export.facts import ClassifierFacts, read_facts
from classifier.export.head import read_head
from pseudo_label.predictions.embeddings import EMBEDDING, EMBEDDING_NORM
from pseudo_label.predictions.prediction_set import (
    SUMMARY,
    PredictionSet,
    open_predictions,
    read_new_facts,
)
from pseudo_label.predictions.schema import TRUE_LABEL
from stage import artifact, shard_list
from stage.calibration_files import read_temperature
from stage.cli import Log
from stage.status import OK
from stage.validation import check

#: Numbers in the embeddings of a process: another one takes seconds to start.
_NUMBERS_PER_PROCESS = 2**27
filesystems.register()


@dataclasses.dataclass(frozen=True, kw_only=True)
class RelabelingRequest:
    """Values of the flags of `beam_jobs.relabel`, which describe them."""

    predictions: str
    teacher: str
    calibration: str | None = None
    top_k: int = 10
    embeddings: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class RelabelingJob:
    """A relabeling job and the config that identifies it.

    Attributes:
        relabeling: What workers need.
        predictions: Predictions to relabel.
        config: Everything that decides the content of the new ones.
    """

    relabeling: Relabeling
    predictions: PredictionSet
    config: dict[str, Any]

    @property
    def parents(self) -> tuple[str, str]:
        """Directories that the new predictions are made of."""
        return self.predictions.directory, self.relabeling.teacher


def plan(request: RelabelingRequest, *, output: str) -> RelabelingJob:
    """Returns the job, after checking its inputs."""
    artifact.check_startable(output)
    predictions = open_predictions(request.predictions)
    predictions.read_shards()  # It is copied at the end.
    path = artifact.require_complete(request.teacher, "classifier")
    facts = read_facts(path)
    _check_features(predictions, facts, request.teacher)
    size = read_head(path, facts).embedding_size
    check(
        size == predictions.embedding_size,
        f"{request.predictions}: expected embeddings of {size} features, got "
        f"{predictions.embedding_size}",
    )
    temperature = facts.temperature
    if request.calibration is not None:
        temperature = read_temperature(
            request.calibration, teachers=[facts.fingerprint]
        )
    config = _describe(request, predictions, facts, temperature)
    relabeling = Relabeling(
        predictions=predictions,
        teacher=request.teacher,
        temperature=temperature,
        top_k=config["top_k"],
        more_columns=_more_columns(request, config),
        output=output,
        fingerprint=artifact.config_fingerprint(config, leaving_out="images"),
    )
    return RelabelingJob(relabeling=relabeling, predictions=predictions, config=config)


def _check_features(
    predictions: PredictionSet, facts: ClassifierFacts, teacher: str
) -> None:
    """Raises ValueError unless the embeddings are the features of the teacher."""
    predictions.check_features()
    check(
        predictions.features == facts.features,
        f"{teacher} computes other features than those of {predictions.directory}: "
        f"expected {predictions.features[:12]}, got {(facts.features or 'none')[:12]}; "
        "label the images with it, or take a probe of the same network",
    )


def _describe(
    request: RelabelingRequest,
    predictions: PredictionSet,
    facts: ClassifierFacts,
    temperature: float,
) -> dict[str, Any]:
    """Returns the config of the new predictions, made from that of the old ones."""
    keeps_labels = tuple(facts.class_names) == predictions.class_names
    before = artifact.read_config(request.predictions)
    before.pop("propagation", None)  # The labels of similar images do not count.
    return {
        **before,
        "teachers": [facts.fingerprint],
        "class_names": list(facts.class_names),
        "temperature": temperature,
        "top_k": min(request.top_k, len(facts.class_names)),
        "embedding_size": predictions.embedding_size if request.embeddings else 0,
        "has_embedding_norms": request.embeddings,
        "has_true_labels": predictions.has_true_labels and keeps_labels,
        "relabeling": {"predictions": predictions.fingerprint},
    }


def _more_columns(request: RelabelingRequest, config: dict[str, Any]) -> list[str]:
    columns = [EMBEDDING, EMBEDDING_NORM] if request.embeddings else []
    return columns + ([TRUE_LABEL] if config["has_true_labels"] else [])


def run(
    job: RelabelingJob,
    options: PipelineOptions,
    argv: Sequence[str] = (),
    *,
    log: Log = lambda line: None,
) -> None:
    """Relabels the shards that are not there yet; `options` were parsed from `argv`."""
    predictions, relabeling = job.predictions, job.relabeling
    delete_unfinished = functools.partial(artifact.delete_unfinished, relabeling.output)
    numbers = predictions.num_images * predictions.embedding_size
    processes = min(predictions.num_shards, numbers // _NUMBERS_PER_PROCESS)
    if processes > 1:
        spread(options, argv, units=processes)

    def build(pipeline: beam.Pipeline) -> None:
        _ = (
            pipeline
            | "Shards" >> io_shards.Shards(predictions.num_shards)
            | "Relabel" >> beam.ParDo(worker.RelabelShards(relabeling))
        )

    pipeline_job = PipelineJob(
        build=build,
        output=relabeling.output,
        prepare=delete_unfinished,
        count_done=functools.partial(_count_files, relabeling),
        units=processes,
    )
    runners.run_pipeline(pipeline_job, options, log=log)
    delete_unfinished()


def _count_files(relabeling: Relabeling) -> int:
    paths = epath.Path(relabeling.output).iterdir()
    return sum(path.name.endswith(".parquet") for path in paths)


def finish(job: RelabelingJob) -> str:
    """Describes the new predictions; returns a line for the user.

    Raises:
        RuntimeError: If a shard has no file, or that of another job.
    """
    output = epath.Path(job.relabeling.output)
    facts = read_new_facts(
        job.predictions, output, fingerprint=job.relabeling.fingerprint
    )
    counts: Counter[str] = Counter()
    for of_shard in facts:
        counts.update(of_shard.status_counts)
    summary = {
        "images": counts.total(),
        "status": dict(sorted(counts.items())),
        "checksums": [of_shard.checksum for of_shard in facts],
    }
    artifact.write_json(output / SUMMARY, summary)
    artifact.write_bytes(shard_list.find(output), job.predictions.read_shards())
    return (
        f"relabeled {counts[OK]:,} of {counts.total():,} images of "
        f"{job.predictions.directory} with {job.relabeling.teacher}"
    )
