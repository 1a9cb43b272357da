"""Submits a Dataflow job and waits for its end."""

from __future__ import annotations

import copy
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.runners.dataflow.dataflow_runner import DataflowRuntimeException
from apache_beam.runners.runner import PipelineState

from beam_jobs.runners.options import Build
from stage.cli import Log

_CONSOLE = "https://console.cloud.google.com/dataflow/jobs"


def run(build: Build, options: PipelineOptions, *, log: Log) -> Any:
    """Submits the job, logs the address of its page, and waits for its end.

    The job continues in the cloud if this process ends first. Returns Beam's result;
    raises RuntimeError if the job fails or its state cannot be polled any more.
    """
    options = copy.deepcopy(options)
    pipeline = beam.Pipeline(options=options)
    build(pipeline)
    result = pipeline.run()
    cloud = options.view_as(GoogleCloudOptions)
    url = f"{_CONSOLE}/{cloud.region}/{result.job_id()}?project={cloud.project}"
    log(f"Dataflow runs {cloud.job_name}: {url}")
    try:
        state = result.wait_until_finish()
    except DataflowRuntimeException as error:
        raise RuntimeError(f"{error}\nThe job's page: {url}") from error
    except AssertionError as error:  # Beam's poll has died.
        raise RuntimeError(
            f"Dataflow does not answer; the job continues: {url}"
        ) from error
    if state != PipelineState.DONE:
        raise RuntimeError(f"expected a job that is DONE, got {state}: {url}")
    return result
