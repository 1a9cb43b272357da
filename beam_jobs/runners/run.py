"""Beam's runners: their options, which follow `--`, and how a pipeline is run."""

from __future__ import annotations

import dataclasses
import datetime
import os
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    StandardOptions,
)

from classifier.training.devices import num_cores
from stage import cli

#: Beam's DirectRunner picks one of three runners, downloads one of them, and only
#: this one reads --direct_num_workers: so a local run names it.
LOCAL_RUNNER = "FnApiRunner"
DATAFLOW_RUNNER = "DataflowRunner"
#: How often in a row workers may die without one more shard done.
MAX_DEATHS = 3
_DEATHS = "NOISY_STUDENT_RS_WORKER_DEATHS"
#: What Beam's thread for a worker process says when that has ended.
_WORKER_ENDED = re.compile(r"Worker subprocess exited with return code (-?\d+)")

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
    if not _has_worker_processes(options):
        return 0
    workers: int = options.view_as(DirectOptions).direct_num_workers
    return max(1, num_cores() // workers)


def run_pipeline(
    build: Build,
    options: PipelineOptions,
    *,
    say: Callable[[str], None] = lambda line: None,
    count_done: Callable[[], int] | None = None,
    may_shuffle: bool = False,
) -> Any:
    """Builds a pipeline and runs it to its end.

    Args:
        build: Adds the transforms to a pipeline.
        options: Beam's.
        say: Is told what the user should know.
        count_done: How many units of work are done. Given, a local job whose worker
            process was killed starts itself again and goes on, as long as that helps.
        may_shuffle: Whether it is meant to have a shuffle.

    Returns:
        Beam's result, with its metrics.

    Raises:
        RuntimeError: If it failed.
        ValueError: If Dataflow would not take it.
    """
    if is_dataflow(options):
        from beam_jobs.runners import dataflow

        dataflow.check(build, options, may_shuffle=may_shuffle)
        return dataflow.run(build, options, say=say)
    with _WorkersLog() as log, _Survivor(options, say, count_done, log):
        try:
            pipeline = beam.Pipeline(options=options)
            build(pipeline)
            result = pipeline.run()
            result.wait_until_finish()
        except Exception as error:
            path = log.save(str(error))
            raise PipelineError(f"{reason(str(error))} (more in {path})") from error
    return result


def reason(text: str) -> str:
    """Returns the words of the innermost exception of a worker's traceback."""
    lines = [line for line in text.splitlines() if line and not line[0].isspace()]
    words = [line for line in lines if re.match(r"[\w.]+(Error|Exception)\b", line)]
    last = (words or lines or ["unknown"])[-1]
    last = last.partition(" [while running")[0]
    return re.sub(r"^([\w.]*(Labeling|Writing)Error|ValueError): ", "", last)


class _WorkersLog:
    """Takes what worker processes and libraries write to stderr.

    What Python itself writes there still comes through: it is for the user.
    """

    def __enter__(self) -> _WorkersLog:
        sys.stderr.flush()
        self._file = tempfile.TemporaryFile()
        self._stderr = sys.stderr
        self._terminal = os.dup(2)
        os.dup2(self._file.fileno(), 2)
        sys.stderr = open(self._terminal, "w", buffering=1, closefd=False)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def save(self, more: str = "") -> str:
        """Keeps what was written, and `more`, in a file; returns its path."""
        handle, path = tempfile.mkstemp(prefix="noisy-student-rs-", suffix=".log")
        with open(handle, "wb") as kept:
            self._file.seek(0)
            shutil.copyfileobj(self._file, kept)
            kept.write(more.encode())
        return path

    def close(self) -> None:
        """Gives stderr back."""
        sys.stderr = self._stderr
        os.dup2(self._terminal, 2)
        os.close(self._terminal)
        self._file.close()


@dataclasses.dataclass
class _Survivor:
    """Starts the program again where one of its worker processes was killed.

    Beam waits forever for a worker process that is gone; only the thread that
    watched it speaks of it.
    """

    options: PipelineOptions
    say: Callable[[str], None]
    count_done: Callable[[], int] | None
    log: _WorkersLog

    def __enter__(self) -> None:
        self._before = threading.excepthook
        if self.count_done is not None and _has_worker_processes(self.options):
            self._done_before = self.count_done()
            threading.excepthook = self._hook

    def __exit__(self, *_: object) -> None:
        threading.excepthook = self._before

    def _hook(self, args: threading.ExceptHookArgs) -> None:
        ended = _WORKER_ENDED.search(str(args.exc_value))
        if ended is None or self.count_done is None:
            return  # Of the connections to it, which Beam's other threads lose.
        cli.kill_children()
        has_helped = self.count_done() > self._done_before
        deaths = 1 if has_helped else 1 + int(os.environ.get(_DEATHS, "0"))
        if deaths > MAX_DEATHS:
            sys.stderr.write(
                f"error: worker processes died {deaths} times without one more shard "
                f"done; is there enough memory? (more in {self.log.save()})\n"
            )
            os._exit(1)
        self.say(f"a worker process ended with {ended[1]}; going on")
        os.environ[_DEATHS] = str(deaths)
        self.log.close()
        os.execv(sys.executable, sys.orig_argv)


def _has_worker_processes(options: PipelineOptions) -> bool:
    direct = options.view_as(DirectOptions)
    return (
        is_local(options)
        and direct.direct_running_mode == "multi_processing"
        and direct.direct_num_workers > 1
    )
