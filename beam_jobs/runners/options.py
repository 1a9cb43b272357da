"""Beam's options: which runner, how many workers, how many threads each."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    StandardOptions,
)

from stage.system import num_cores

#: Beam's DirectRunner picks one of three runners, downloads one of them, and only
#: this one reads --direct_num_workers: so a local run names it.
LOCAL_RUNNER = "FnApiRunner"
DATAFLOW_RUNNER = "DataflowRunner"
#: Puts a job's stages into a pipeline.
Build = Callable[[beam.Pipeline], None]


class PipelineError(RuntimeError):
    """Why a pipeline failed, in one line."""


def parse_beam_arguments(argv: Sequence[str], *, name: str) -> PipelineOptions:
    """Returns Beam's options out of what absl has left of the command line.

    Args:
        argv: The program's name, then the arguments behind `--`.
        name: What the job makes, for people who see it in a list of jobs.

    Raises:
        ValueError: If an argument is no option, or Dataflow needs another one. Names
            are checked for local runs and Dataflow: other runners have options that
            Beam's Python side does not know.
    """
    arguments = list(argv[1:])
    if arguments and not arguments[0].startswith("--"):
        raise ValueError(f"expected Beam options as --name=value, got {arguments[0]!r}")
    options = PipelineOptions(arguments)
    standard = options.view_as(StandardOptions)
    if standard.runner in (None, "DirectRunner"):
        standard.runner = LOCAL_RUNNER
    if is_local(options):
        _check_names(arguments, set(options.get_all_options()))
        direct = options.view_as(DirectOptions)
        direct.direct_num_workers = direct.direct_num_workers or num_cores()
    if is_dataflow(options):
        from beam_jobs.runners import dataflow  # Adds an option of its own.

        _check_names(arguments, set(options.get_all_options()))
        dataflow.fill_in(options, name=name, now=datetime.datetime.now())
    return options


def is_local(options: PipelineOptions) -> bool:
    """Whether this machine does all the work, with Beam's local runner."""
    return bool(options.view_as(StandardOptions).runner == LOCAL_RUNNER)


def is_dataflow(options: PipelineOptions) -> bool:
    """Whether the workers will be Dataflow's, which are other machines."""
    return bool(options.view_as(StandardOptions).runner == DATAFLOW_RUNNER)


def spread(options: PipelineOptions, argv: Sequence[str], *, units: int) -> None:
    """Gives a local run a process for each core, where `argv` says nothing else.

    Args:
        options: To be completed.
        argv: What they were parsed from.
        units: Of work; more processes than that would have none.
    """
    names = {argument.partition("=")[0] for argument in argv}
    if not is_local(options) or names & {
        "--direct_num_workers",
        "--direct_running_mode",
    }:
        return
    direct = options.view_as(DirectOptions)
    direct.direct_num_workers = max(1, min(num_cores(), units))
    direct.direct_running_mode = "multi_processing"


def _check_names(arguments: Sequence[str], known: set[str]) -> None:
    for argument in arguments:
        name = argument.removeprefix("--").partition("=")[0]
        is_known = name in known or name.removeprefix("no_") in known
        if argument.startswith("--") and not is_known:
            raise ValueError(f"Beam has no option --{name}")


def threads_of_worker(options: PipelineOptions) -> int:
    """Returns the threads that a worker process may compute with, 0 for all cores.

    A process for each core, with a thread each, labels as fast as one process with
    all of them, or faster (docs/benchmarks.md). That is also how Dataflow and Flink
    lay out their workers.
    """
    if is_dataflow(options):
        from beam_jobs.runners import dataflow

        # With an accelerator, a machine has one process.
        return 0 if dataflow.pool(options).accelerator else 1
    if not is_local(options):
        return 1
    if not has_worker_processes(options):
        return 0
    workers: int = options.view_as(DirectOptions).direct_num_workers
    return max(1, num_cores() // workers)


def has_worker_processes(options: PipelineOptions) -> bool:
    """Whether a local run has several worker processes."""
    direct = options.view_as(DirectOptions)
    return (
        is_local(options)
        and direct.direct_running_mode == "multi_processing"
        and direct.direct_num_workers > 1
    )
