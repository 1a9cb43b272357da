"""The writing job: plan, run, describe the dataset.

`worker` writes the shards; the pipeline returns their sizes for the metadata.
"""

from __future__ import annotations

from stage import import_tensorflow  # noqa: F401, first import of a worker

# isort: split
import functools
import math

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from etils import epath

from beam_jobs.io import filesystems
from beam_jobs.io import shards as io_shards
from beam_jobs.runners import run as runners
from beam_jobs.runners.options import PipelineJob
from beam_jobs.writing.worker import (
    WriteGroup,
    WritingJob,
    WrittenGroup,
    WrittenShard,
)
from classifier.data import shard_manifest
from classifier.data.sources import Source
from pseudo_label.dataset import card
from pseudo_label.dataset import records as dataset_records
from pseudo_label.deduplication import near_duplicates
from pseudo_label.predictions.prediction_set import open_predictions
from pseudo_label.selection.decision import SELECTION, open_selection
from stage import artifact, licenses, markdown, parts, shard_list, typed_json
from stage.cli import Log
from stage.parts import WHOLE, Part
from stage.system import read_in_parallel
from stage.tfds_directory import FRAME_BYTES, open_builder
from stage.validation import check, check_positive

RECORDS_PER_SHARD = 4096
MIN_SHARDS = 4
#: The list of input shards, deleted from a complete dataset.
SCRATCH = (shard_list.NAME,)
#: Paths of predictions and selection, for `pseudo_label.verify`.
INPUTS = "inputs.json"

filesystems.register()


def plan(
    source: Source,
    *,
    predictions: str,
    selection: str,
    round_number: int,
    num_shards: int,
    output: str,
    part: Part = WHOLE,
) -> WritingJob:
    """Returns the job, after checking that its inputs belong together.

    For the arguments see `WritingJob`; predictions and selection are directories, and
    without `num_shards` there is a shard per `RECORDS_PER_SHARD` records.
    """
    prediction_set = open_predictions(predictions)
    decision = open_selection(selection, prediction_set)
    source = shard_manifest.match_predictions(source, predictions)
    records = decision.funnel.records
    check(records > 0, f"{selection} keeps no image; lower --confidence_threshold")
    check(num_shards >= 0, f"num_shards must be >= 0, got {num_shards}")
    check_positive("round", round_number)
    default_shards = max(MIN_SHARDS, math.ceil(records / RECORDS_PER_SHARD))
    return WritingJob(
        source=source,
        predictions=prediction_set,
        selection=decision,
        selection_directory=selection,
        round=round_number,
        num_shards=num_shards or default_shards,
        output=output,
        part=part,
    )


def run(
    job: WritingJob, options: PipelineOptions, *, log: Log = lambda line: None
) -> None:
    """Writes the missing shards of the part; without other parts, the metadata, too."""
    # Every image is compared with its hash, so that times need not be.
    shard_manifest.freeze(
        job.source,
        job.output,
        allow_new_shards=False,
        with_times=False,
        is_shared=not job.part.is_whole,
    )
    job = job.without_shards()
    names = {job.path(index).name for index in _own_outputs(job)}

    def count_done() -> int:
        found = {path.name for path in epath.Path(job.output).iterdir()}
        return len(names & found)

    delete_unfinished = functools.partial(
        artifact.delete_unfinished, job.output, None if job.part.is_whole else names
    )
    pipeline_job = PipelineJob(
        build=functools.partial(_build, job),
        output=job.output,
        prepare=delete_unfinished,
        count_done=count_done,
        may_shuffle=True,
        units=job.units,
    )
    runners.run_pipeline(pipeline_job, options, log=log)
    # Left by workers that were killed while others went on.
    delete_unfinished()


def _build(job: WritingJob, pipeline: beam.Pipeline) -> None:
    written = (
        pipeline
        | "Groups" >> io_shards.Shards(len(job.groups), job.part)
        | "Write" >> beam.ParDo(WriteGroup(job))
    )
    if job.part.is_whole:
        _ = (
            written
            | beam.combiners.ToList()
            | "Metadata" >> beam.Map(_write_metadata, job)
        )


def _own_outputs(job: WritingJob) -> list[int]:
    return [output for index in job.own_groups for output in job.groups[index].outputs]


def join(job: WritingJob) -> str:
    """Writes the metadata if all parts are done, else returns a line that says so.

    Raises ValueError if a shard has changed since its part was done.
    """
    if job.part.is_whole:
        return ""
    found = {path.name for path in epath.Path(job.output).iterdir()}
    notes = [job.note(index) for index in range(len(job.groups))]
    done = [note for note in notes if note.name in found]
    read = functools.partial(typed_json.read, kind=WrittenGroup)
    written = [s for group in read_in_parallel(read, done) for s in group.shards]
    rest = parts.describe_rest(
        job.part, done=len(written), total=job.num_shards, what="written"
    )
    if not rest:
        for shard in written:
            _check_unchanged(job.path(shard.index), shard)
        _write_metadata(written, job)
    return rest


def _check_unchanged(path: epath.Path, shard: WrittenShard) -> None:
    expected = shard.num_bytes + shard.length * FRAME_BYTES
    found = path.stat().length if path.exists() else None
    if found != expected:
        raise ValueError(
            f"{path}: expected {expected:,} bytes, got "
            f"{'no file' if found is None else f'{found:,}'}: it has changed since its "
            "part was done; start all parts again"
        )


def finish(job: WritingJob) -> str:
    """Checks the number of records, describes the dataset; returns a summary line."""
    split = open_builder(job.output).info.splits[dataset_records.SPLIT]
    if split.num_examples != job.selection.funnel.records:
        raise RuntimeError(
            f"{job.selection_directory}: expected {job.selection.funnel.records} "
            f"records, wrote {split.num_examples}: its {SELECTION} or a file in "
            f"{near_duplicates.DIRECTORY} has changed; select the labels again"
        )
    output = epath.Path(job.output)
    artifact.write_json(
        output / INPUTS,
        {
            "predictions": artifact.relative_path(
                job.predictions.directory, start=job.output
            ),
            "selection": artifact.relative_path(
                job.selection_directory, start=job.output
            ),
        },
    )
    write_card(job)
    if job.part.is_whole:  # Other parts may still read it.
        shard_list.find(output).unlink(missing_ok=True)
    return (
        f"wrote {split.num_examples:,} records into {job.num_shards} shards of "
        f"{job.output}"
    )


def write_card(job: WritingJob) -> None:
    """Writes the card of the dataset, whose records and ledger are written."""
    split = open_builder(job.output).info.splits[dataset_records.SPLIT]
    text = card.make_card(
        job.selection,
        job.predictions,
        round_number=job.round,
        num_shards=job.num_shards,
        num_bytes=split.num_bytes,
        ledger=licenses.read_if_any(job.output),
    )
    markdown.write_card(job.output, text)


def _write_metadata(shards: list[WrittenShard], job: WritingJob) -> None:
    shards.sort(key=lambda shard: shard.index)
    dataset_records.write_metadata(
        job.output,
        dataset_records.features(
            job.predictions.class_names, top_k=job.predictions.top_k
        ),
        shard_lengths=[shard.length for shard in shards],
        num_bytes=sum(shard.num_bytes for shard in shards),
    )
