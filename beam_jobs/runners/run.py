"""Beam's runners: their options, which follow `--`, and how a pipeline is run."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    PipelineOptions,
)

from beam_jobs.runners.local import Survivor, WorkersLog
from beam_jobs.runners.options import Build, PipelineError, is_dataflow


def run_pipeline(
    build: Build,
    options: PipelineOptions,
    *,
    log: Callable[[str], None] = lambda line: None,
    count_done: Callable[[], int] | None = None,
    may_shuffle: bool = False,
) -> Any:
    """Builds a pipeline and runs it to its end.

    Args:
        build: Adds the transforms to a pipeline.
        options: Beam's.
        log: Is told what the user should know.
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
        return dataflow.run(build, options, log=log)
    with (
        WorkersLog() as workers_log,
        Survivor(options, log, count_done, workers_log),
    ):
        try:
            pipeline = beam.Pipeline(options=options)
            build(pipeline)
            result = pipeline.run()
            result.wait_until_finish()
        except Exception as error:
            path = workers_log.save(str(error))
            raise PipelineError(f"{reason(str(error))} (more in {path})") from error
    return result


def reason(text: str) -> str:
    """Returns the words of the innermost exception of a worker's traceback."""
    lines = [line for line in text.splitlines() if line and not line[0].isspace()]
    words = [line for line in lines if re.match(r"[\w.]+(Error|Exception)\b", line)]
    last = (words or lines or ["unknown"])[-1]
    last = last.partition(" [while running")[0]
    return re.sub(r"^([\w.]*(Labeling|Writing)Error|ValueError): ", "", last)
