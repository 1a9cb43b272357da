"""Beam's options: the runner, the number of workers and their processes."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import io
from collections.abc import Callable, Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)

from stage import parts
from stage.parts import Part
from stage.system import num_cores

#: Beam's DirectRunner picks one of three runners, downloads one of them, and only
#: FnApiRunner reads --direct_num_workers: so a local run names it.
LOCAL_RUNNER = "FnApiRunner"
DATAFLOW_RUNNER = "DataflowRunner"
#: Runners of clusters whose job server has to be there. Beam would download another.
_CLUSTER_RUNNERS = ("PortableRunner", "FlinkRunner")
#: Runners that the jobs are made for. Beam's others download what they need, or cannot
#: run a job with several stages.
RUNNERS = (
    *(LOCAL_RUNNER, "DirectRunner", "PrismRunner"),
    *(*_CLUSTER_RUNNERS, DATAFLOW_RUNNER),
)
#: Adds the transforms of a job to a pipeline.
Build = Callable[[beam.Pipeline], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PipelineJob:
    """A pipeline to run.

    Attributes:
        build: Adds the transforms to a pipeline.
        output: Directory of the output, which gets the bill of a Dataflow job.
        prepare: Deletes what earlier jobs have left in the output. Not called if such a
            job still runs, on Dataflow, and is waited for instead.
        count_done: Returns the number of finished units of work. As long as it grows,
            a local job is restarted whenever a worker process dies.
        may_shuffle: Whether the outputs of stages may cross a shuffle on Dataflow.
        units: Units of work that can be done at a time: Dataflow begins with workers
            for so many.
    """

    build: Build
    output: str
    prepare: Callable[[], None] = lambda: None
    count_done: Callable[[], int] = lambda: 0
    may_shuffle: bool = False
    units: int = 1


def parse(argv: Sequence[str]) -> PipelineOptions:
    """Returns Beam's options, those of a local run completed.

    Names are checked for local runs and Dataflow: other runners have options that
    Beam's Python side does not know.
    """
    arguments = list(argv[1:])
    for before, argument in zip(("", *arguments), arguments, strict=False):
        # The value of an option may follow it as a word of its own.
        is_value = before.startswith("--") and "=" not in before
        if not argument.startswith("--") and (argument[:1] == "-" or not is_value):
            raise ValueError(f"expected Beam options as --name=value, got {argument!r}")
    options = PipelineOptions(arguments)
    names = _option_names(options)
    standard = options.view_as(StandardOptions)
    standard.runner = _find_runner(standard.runner or LOCAL_RUNNER)
    endpoint = options.view_as(PortableOptions).job_endpoint
    if standard.runner in _CLUSTER_RUNNERS and not endpoint:
        raise ValueError(
            f"--runner={standard.runner} needs --job_endpoint=HOST:PORT, Beam's job "
            "server of the cluster, see docs/runners.md"
        )
    if is_local(options) or is_dataflow(options):
        _check_names(arguments, names)
    if is_local(options):
        direct = options.view_as(DirectOptions)
        direct.direct_num_workers = direct.direct_num_workers or num_cores()
        if direct.direct_running_mode == "multi_threading":
            raise ValueError(
                "--direct_running_mode: expected in_memory or multi_processing, got "
                "multi_threading, in which Beam loses rows"
            )
    return options


def parse_part(text: str | None, options: PipelineOptions) -> Part:
    """Returns the part of `--shards`; ValueError if another runner shares the work."""
    part = parts.parse(text)
    if not (part.is_whole or is_local(options)):
        runner = options.view_as(StandardOptions).runner
        raise ValueError(
            f"--shards needs Beam's local runner, got --runner={runner}, which itself "
            "shares the work among machines"
        )
    return part


def is_local(options: PipelineOptions) -> bool:
    """Whether Beam's local runner does the work, on this machine."""
    return bool(options.view_as(StandardOptions).runner == LOCAL_RUNNER)


def is_dataflow(options: PipelineOptions) -> bool:
    """Whether Dataflow's workers do the work, on other machines."""
    return bool(options.view_as(StandardOptions).runner == DATAFLOW_RUNNER)


def is_prism(options: PipelineOptions) -> bool:
    """Whether Prism does the work, whose binary listens on all network interfaces."""
    return bool(options.view_as(StandardOptions).runner == "PrismRunner")


def spread(options: PipelineOptions, argv: Sequence[str], *, units: int) -> None:
    """Gives a local run a process for each core, unless the user has chosen.

    `options` were parsed from `argv`. `units` of work are the most processes to start.
    """
    names = {argument.partition("=")[0] for argument in argv}
    by_hand = names & {"--direct_num_workers", "--direct_running_mode"}
    if by_hand or not is_local(options):
        return
    direct = options.view_as(DirectOptions)
    direct.direct_num_workers = max(1, min(num_cores(), units))
    direct.direct_running_mode = "multi_processing"


def has_worker_processes(options: PipelineOptions) -> bool:
    """Whether a local run has several worker processes."""
    direct = options.view_as(DirectOptions)
    return (
        is_local(options)
        and direct.direct_running_mode == "multi_processing"
        and direct.direct_num_workers > 1
    )


def _find_runner(name: str) -> str:
    """Returns the full name of a runner; case and the word `Runner` do not matter."""
    known = {each.lower(): each for each in RUNNERS}
    found = known.get(name.lower()) or known.get(f"{name.lower()}runner")
    if found is None:
        raise ValueError(
            f"--runner={name} is not supported: expected {', '.join(RUNNERS)}; "
            "PortableRunner is for Flink, see docs/runners.md"
        )
    return LOCAL_RUNNER if found == "DirectRunner" else found


def _option_names(options: PipelineOptions) -> set[str]:
    """Returns every name of every option, such as --disk_type and --worker_disk_type.

    `get_all_options` has one name of each, which for switches may be that of none.
    Raises ValueError for a value that an option cannot have.
    """
    names: set[str] = set()
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            options.get_all_options(
                add_extra_args_fn=lambda parser: names.update(
                    parser._option_string_actions
                )
            )
    except SystemExit as end:
        if not end.code:  # --help
            raise
        # The lines before it list all options.
        error = printed.getvalue().partition(": error: ")[2]
        words = " ".join(error.split()).removeprefix("argument ")
        raise ValueError(f"Beam's option {words}") from end
    return names


def _check_names(arguments: Sequence[str], known: set[str]) -> None:
    for argument in arguments:
        name = argument.partition("=")[0]
        if name.startswith("--") and name not in known:
            similar = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {similar[0]}?" if similar else ""
            raise ValueError(f"Beam has no option {name}{hint}")
