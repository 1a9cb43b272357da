"""Runs the passes of the propagation job.

Beam's local runner holds in memory what crosses a shuffle. There a pass is divided into
rounds, each of which reads all shards and sends a part of the units. No pass flattens:
the local runner would send all rows to the workers and back once more.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from etils import epath

from beam_jobs.io import filesystems
from beam_jobs.io import shards as io_shards
from beam_jobs.propagation import passes
from beam_jobs.propagation.job import WORK, PropagationJob, find_missing
from beam_jobs.runners import options as runner_options
from beam_jobs.runners import run as runners
from beam_jobs.runners.options import Build, PipelineJob
from pseudo_label.predictions.prediction_set import SUMMARY, read_new_facts
from pseudo_label.predictions.schema import NeighborAgreement
from pseudo_label.propagation.cells import Cells, row_type, spread_type
from stage import artifact, shard_list
from stage.cli import Log

#: Bytes of the rows that cross the local runner's shuffle at a time.
_LOCAL_BYTES = 2**30
#: Images per process: another one takes seconds to start.
_ROWS_PER_PROCESS = 100_000
filesystems.register()


def run(
    job: PropagationJob,
    options: PipelineOptions,
    argv: Sequence[str] = (),
    *,
    log: Log = lambda line: None,
) -> None:
    """Writes the missing new predictions; `options` were parsed from `argv`."""
    (epath.Path(job.output) / WORK).mkdir(exist_ok=True)
    if not find_missing(job.path, range(job.predictions.num_shards)):
        return  # `finish` may have begun to delete `WORK`.
    processes = job.predictions.num_images // _ROWS_PER_PROCESS
    if processes > 1 and job.num_cells > 1:
        runner_options.spread(options, argv, units=processes)

    run_pass = _passes(job, options, units=processes, log=log)
    if job.num_cells > 1 and not job.centroids.exists():
        run_pass(functools.partial(_write_cells, job))
    cells = passes.read_cells(job)
    log(
        "one graph of all images"
        if job.num_cells == 1
        else f"{len(cells.centroids):,} cells of similar images, "
        f"{cells.num_units:,} units"
    )
    rounds = _rounds(cells.num_units, _sent_bytes(job, cells), options)
    _run_missing(run_pass, functools.partial(_spread, job), job.unit_path, rounds)
    log("labels are spread; writing predictions")
    num_bytes = job.predictions.num_images * spread_type(job.predictions.top_k).itemsize
    rounds = _rounds(job.predictions.num_shards, num_bytes, options)
    write = functools.partial(_write, job, cells.num_units)
    _run_missing(run_pass, write, job.path, rounds)


def _passes(
    job: PropagationJob, options: PipelineOptions, *, units: int, log: Log
) -> Callable[[Build], None]:
    """Returns a function that runs a pass; for `units` see `PipelineJob`."""
    # Once: what killed workers leave in these passes, `finish` deletes.
    prepare = functools.cache(functools.partial(_delete_unfinished, job.output))

    def run_pass(build: Build) -> None:
        pipeline_job = PipelineJob(
            build=build,
            output=job.output,
            prepare=prepare,
            count_done=functools.partial(_count_files, job),
            may_shuffle=True,
            units=units,
        )
        runners.run_pipeline(pipeline_job, options, log=log)

    return run_pass


def _delete_unfinished(output: str) -> None:
    artifact.delete_unfinished(output)
    artifact.delete_unfinished(epath.Path(output) / WORK)


def _run_missing(
    run_pass: Callable[[Build], None],
    build: Callable[[range, beam.Pipeline], None],
    path: Callable[[int], epath.Path],
    rounds: Iterable[range],
) -> None:
    """Runs a pass for each round of units or shards of which a file is missing."""
    for numbers in rounds:
        if find_missing(path, numbers):
            run_pass(functools.partial(build, numbers))


def finish(job: PropagationJob) -> str:
    """Describes the new predictions; returns a line for the user.

    Raises:
        RuntimeError: If a shard has no file, or that of another job.
    """
    output = epath.Path(job.output)
    facts = read_new_facts(job.predictions, output, fingerprint=job.fingerprint)
    counts: Counter[str] = Counter()
    for of_shard in facts:
        counts.update(of_shard.status_counts)
    checksums = [of_shard.checksum for of_shard in facts]
    agreement = sum((of_shard.agreement for of_shard in facts), NeighborAgreement())
    summary = {
        "images": counts.total(),
        "status": dict(sorted(counts.items())),
        "agreement": dataclasses.asdict(agreement),
        "checksums": checksums,
    }
    artifact.write_json(output / SUMMARY, summary)
    artifact.write_bytes(shard_list.find(output), job.predictions.read_shards())
    artifact.delete_unfinished(output)
    (output / WORK).rmtree(missing_ok=True)  # Deleted if the job ended here before.
    return (
        f"spread {job.num_labeled:,} labels over {counts.total():,} images of "
        f"{job.predictions.directory}; they reached {agreement.compared:,}, "
        f"{agreement.same:,} of them with the teacher's class"
    )


def _sent_bytes(job: PropagationJob, cells: Cells) -> int:
    """Returns the expected bytes of the rows that are sent to all units.

    A labeled image is sent to all units of the cells that it reaches.
    """
    copies = cells.reach(job.num_labeled) * cells.num_units / len(cells.centroids)
    num_rows = job.predictions.num_images + math.ceil(job.num_labeled * copies)
    return num_rows * row_type(job.predictions.embedding_size).itemsize


def _rounds(units: int, num_bytes: int, options: PipelineOptions) -> Iterator[range]:
    """Yields ranges of units whose rows cross a shuffle together.

    `num_bytes` are those of the rows of all units.
    """
    rounds = (
        math.ceil(num_bytes / _LOCAL_BYTES) if runner_options.is_local(options) else 1
    )
    step = math.ceil(units / max(1, rounds))
    for start in range(0, units, step):
        yield range(start, min(units, start + step))


def _count_files(job: PropagationJob) -> int:
    output = epath.Path(job.output)
    names = [path.name for path in (*output.iterdir(), *(output / WORK).iterdir())]
    return sum(name.endswith(".parquet") for name in names)


def _write_cells(job: PropagationJob, pipeline: beam.Pipeline) -> None:
    shards = pipeline | "Shards" >> io_shards.Shards(job.predictions.num_shards)
    passes.write_cells(shards, job)


def _spread(job: PropagationJob, units: range, pipeline: beam.Pipeline) -> None:
    num_shards = job.predictions.num_shards + job.labeled.num_shards
    _ = (
        pipeline
        | "Shards" >> io_shards.Shards(num_shards)
        | "Send" >> beam.ParDo(passes.SendToUnits(job, units))
        | "By unit" >> beam.GroupByKey()
        | "Spread" >> beam.ParDo(passes.SpreadInUnit(job))
    )


def _write(
    job: PropagationJob, num_units: int, shards: range, pipeline: beam.Pipeline
) -> None:
    _ = (
        pipeline
        | "Units" >> io_shards.Shards(num_units)
        | "Send" >> beam.ParDo(passes.SendToShards(job, shards))
        | "By shard" >> beam.GroupByKey()
        | "Write" >> beam.ParDo(passes.WriteShard(job))
    )
