"""Submits a Dataflow job, or finds the one that runs, and waits for its end."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import google.auth
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.runners.dataflow.dataflow_metrics import DataflowMetrics
from apache_beam.runners.dataflow.dataflow_runner import (
    DataflowPipelineResult,
    DataflowRunner,
)
from apache_beam.runners.dataflow.internal import apiclient

from beam_jobs.runners.dataflow import (
    active_jobs,
    bill,
    interruption,
    job_options,
    service_errors,
    waiting,
)
from beam_jobs.runners.dataflow.location import DataflowLocation
from beam_jobs.runners.dataflow.usage import read_usage
from beam_jobs.runners.options import Build
from stage.cli import Log
from stage.interruption import on_interrupt


def run(build: Build, options: PipelineOptions, *, output: str, log: Log) -> Any:
    """Submits the job and waits for its end; logs its page, id, states and figures.

    What it has used is added to the bill of its `output`, a directory.
    If a job with the same output and program is active, waits for that one instead.
    The job continues in the cloud if this process ends first. Returns Beam's result;
    raises RuntimeError if the job fails, cannot be started or be polled any more.
    """
    location = DataflowLocation.of(options)
    with service_errors.as_one_line(location):
        _check_login(options)
        pipeline = beam.Pipeline(options=options)
        build(pipeline)
        options = pipeline.options  # A copy.
        active_jobs.add_program_label(options, pipeline.applied_labels)
        client = apiclient.DataflowApplicationClient(options)
        job = active_jobs.find(client, options)
    name = job.name if job else options.view_as(GoogleCloudOptions).job_name
    interrupted = interruption.Interruption(
        location, name, cancels=interruption.is_cancelling(options), log=log
    )
    with on_interrupt(interrupted.line, seconds=interrupted.seconds):
        unknown = "" if job else interrupted.may_have_started
        with (
            service_errors.as_one_line(location, if_unanswered=unknown),
            _without_log(),
        ):
            result = _attach(client, job, options) if job else pipeline.run()
        job_id = result.job_id()
        interrupted.follow(client, job_id)
        page = location.page(job_id)
        if job:
            started = f"{job.create_time:%Y-%m-%d %H:%M} UTC"
            log(f"Dataflow runs {name} already, started {started}: waiting: {page}")
        else:
            log(f"Dataflow runs {name}: {page}")
        log(f"its id is {job_id}; to end it: {location.cancel_command(job_id)}")
        with service_errors.as_one_line(location, more=_goes_on(location, job_id)):
            state = waiting.wait(result, result._runner, name, log=log)
        _add_to_bill(result, options, output=output, state=state, name=name, log=log)
        if state != "done":
            raise RuntimeError(
                waiting.describe_failure(result, client, options, name=name)
            )
    return result


def _check_login(options: PipelineOptions) -> None:
    """Fails at once without a login, which Beam would look for again and again."""
    cloud = options.view_as(GoogleCloudOptions)
    if not cloud.no_auth:
        google.auth.default(scopes=cloud.gcp_oauth_scopes)


def _attach(client: Any, job: Any, options: PipelineOptions) -> Any:
    """Returns Beam's result of a job that another process has submitted."""
    runner = DataflowRunner()
    runner.dataflow_client = client
    result = DataflowPipelineResult(job, runner, options)
    result.metric_results = DataflowMetrics(client, result)
    return result


def _goes_on(location: DataflowLocation, job_id: str) -> str:
    """Returns what to say if the service does not answer any more."""
    return (
        f"the job goes on and is billed: {location.page(job_id)} ; the same command "
        "waits for it again"
    )


def _add_to_bill(
    result: Any,
    options: PipelineOptions,
    *,
    output: str,
    state: str,
    name: str,
    log: Log,
) -> None:
    used = read_usage(result)
    if used is None:
        return
    log(f"{name} {used}")
    try:
        bill.add_job(
            output,
            result.job_id(),
            state=state,
            resources=used.resources,
            pool=job_options.pool(options),
        )
    except (ValueError, OSError) as error:  # Why a job has failed matters more.
        log(f"warning: this is not in the bill: {error}")


@contextlib.contextmanager
def _without_log() -> Iterator[None]:
    """Drops what Beam's client logs about a request whose error is reported."""
    logger = logging.getLogger(apiclient.__name__)
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
