"""Parses Beam's options, which follow `--`, runs a pipeline and tells its cost."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from etils import epath

from beam_jobs.runners import failure, listening, local
from beam_jobs.runners import options as beam_options
from beam_jobs.runners.dataflow import bill, graph, job_options
from beam_jobs.runners.dataflow.accelerators import accelerator_name
from beam_jobs.runners.dataflow.bill import Bill
from beam_jobs.runners.options import PipelineJob
from stage.cli import Log
from stage.system import num_cores


class PipelineError(RuntimeError):
    """A pipeline failed; the message is one line for the user."""


def parse_beam_arguments(argv: Sequence[str], *, name: str) -> PipelineOptions:
    """Returns Beam's options, completed for the runner.

    `argv` is the program's name and the arguments after `--`; `name` is the output of
    the job, shown in Dataflow's list of jobs.
    """
    options = beam_options.parse(argv)
    job_options.fill_in(options, name=name, now=datetime.datetime.now())
    if not beam_options.is_dataflow(options):
        job_options.refuse_elsewhere(options)
    return options


def threads_of_worker(options: PipelineOptions) -> int:
    """Returns the number of threads a worker process computes with, 0 for all cores.

    A process for each core, with a thread each, labels as fast as one process with
    all of them, or faster (docs/benchmarks.md). That is also how Dataflow and Flink
    lay out their workers.
    """
    if beam_options.is_dataflow(options):
        # With an accelerator, a machine has one process.
        return 0 if accelerator_name(options) else 1
    if not beam_options.is_local(options):
        return 1
    if not beam_options.has_worker_processes(options):
        return 0
    workers: int = options.view_as(DirectOptions).direct_num_workers
    return max(1, num_cores() // workers)


def run_pipeline(
    job: PipelineJob, options: PipelineOptions, *, log: Log = lambda line: None
) -> Any:
    """Builds a pipeline and runs it to its end; returns Beam's result.

    `options` are those of `parse_beam_arguments`; `log` receives lines for the user.

    Raises:
        RuntimeError: If the pipeline fails.
        ValueError: If the graph does not suit Dataflow.
    """
    if beam_options.is_dataflow(options):
        job_options.start_workers(options, units=job.units)
        graph.check(job.build, options, may_shuffle=job.may_shuffle)
        # Lazy: it needs Google's packages, which `graph.check` has asked for.
        from beam_jobs.runners.dataflow import submission

        return submission.run(job, options, log=log)
    job.prepare()
    if beam_options.is_prism(options):
        log("warning: Prism runs programs for whoever can connect to this machine")
    local.repair_streams()
    with (
        local.workers_log() as save_log,
        local.restart_on_death(
            options, count_done=job.count_done, log=log, save_log=save_log
        ),
        listening.closed_to_others(are_workers_ours=beam_options.is_local(options)),
    ):
        try:
            pipeline = beam.Pipeline(options=options)
            job.build(pipeline)
            result = pipeline.run()
            result.wait_until_finish()
        except Exception as error:
            message = f"{failure.reason(str(error))} {save_log(str(error))}"
            raise PipelineError(message) from error
    return result


def log_end(
    lines: Iterable[str],
    output: epath.PathLike,
    options: PipelineOptions,
    *,
    log: Log,
    describe: Callable[[Bill], str] = str,
) -> None:
    """Logs lines about an output that is made, and what its jobs have cost, if any.

    `describe` returns its bill as a line. One that cannot be read is no reason to make
    the output again.
    """
    for line in lines:
        log(line)
    try:
        found = _complete_bill(output, options)
        if found is not None:
            log(f"Dataflow has billed {describe(found)}")
    except (ValueError, OSError) as error:
        log(f"warning: the bill cannot be read: {error}")


def _complete_bill(output: epath.PathLike, options: PipelineOptions) -> Bill | None:
    """Returns the bill of an output; None without any job on Dataflow.

    The service is asked for what is missing in it.
    """
    found = bill.read_bill(output)
    if found is None or not beam_options.is_dataflow(options):
        return found
    from beam_jobs.runners.dataflow import unseen  # Lazy: it needs Google's packages.

    return unseen.complete(output, found, options)
