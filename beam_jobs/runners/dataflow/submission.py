"""Submits a Dataflow job, or finds the one that runs, and waits for its end."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.runners.dataflow.dataflow_metrics import DataflowMetrics
from apache_beam.runners.dataflow.dataflow_runner import (
    DataflowPipelineResult,
    DataflowRunner,
)
from apache_beam.runners.dataflow.internal import apiclient

from beam_jobs.runners.dataflow import (
    active_jobs,
    api,
    bill,
    interruption,
    job_options,
    service_errors,
    waiting,
)
from beam_jobs.runners.dataflow.location import DataflowLocation
from beam_jobs.runners.dataflow.usage import JobUsage, read_usage
from beam_jobs.runners.options import PipelineJob
from stage.cli import Log
from stage.interruption import on_interrupt


def run(job: PipelineJob, options: PipelineOptions, *, log: Log) -> Any:
    """Submits the job and waits for its end; logs its page, id, states and figures.

    If one with the same output and program is active, waits for that one instead, and
    leaves the output as it is. What it has used is added to the bill of the output.
    The job continues in the cloud if this process ends first. Returns Beam's result;
    raises RuntimeError if the job fails, cannot be started or be polled any more.
    """
    location = DataflowLocation.of(options)
    with service_errors.as_one_line(location):
        api.check_login(options)
        pipeline = _build(job, options)
        options = pipeline.options
        client = apiclient.DataflowApplicationClient(options)
        active = active_jobs.find(client, options)
    name = active.name if active else options.view_as(GoogleCloudOptions).job_name
    interrupted = interruption.Interruption(
        location, name, cancels=interruption.is_cancelling(options), log=log
    )
    with on_interrupt(interrupted.line, seconds=interrupted.seconds):
        if active is None:
            job.prepare()
            log(job_options.describe_limit(options))
        unknown = "" if active else interrupted.may_have_started
        with (
            service_errors.as_one_line(location, if_unanswered=unknown),
            api.without_log(),
        ):
            result = _attach(client, active, options) if active else pipeline.run()
        job_id = result.job_id()
        interrupted.follow(client, job_id)
        _describe(active, name, location, job_id, log)
        add_to_bill = functools.partial(
            _add_to_bill, job_id, output=job.output, options=options, log=log
        )
        # That of an active job may have been another one's to choose.
        limit = None if active else job_options.max_hours(options)
        _wait_until_done(
            result,
            client,
            location,
            name=name,
            max_hours=limit,
            add_to_bill=add_to_bill,
            log=log,
        )
    return result


def _build(job: PipelineJob, options: PipelineOptions) -> beam.Pipeline:
    """Returns the pipeline, which has a copy of the options, with the program's."""
    pipeline = beam.Pipeline(options=options)
    job.build(pipeline)
    active_jobs.add_program_label(pipeline.options, pipeline.applied_labels)
    return pipeline


def _wait_until_done(
    result: Any,
    client: Any,
    location: DataflowLocation,
    *,
    name: str,
    max_hours: float | None,
    add_to_bill: Callable[[str, JobUsage | None], None],
    log: Log,
) -> None:
    """Waits for the end of a job and bills it; RuntimeError if it is not done."""
    add_to_bill("running", None)
    more = _goes_on(location, result.job_id())
    with service_errors.as_one_line(location, more=more):
        state = waiting.wait(result, result._runner, name, log=log)
    used = read_usage(client, result._job)
    if used is not None:
        log(f"{name} {used}")
    add_to_bill(state, used)
    if state != "done":
        raise RuntimeError(
            waiting.describe_failure(
                result, client, location, name=name, max_hours=max_hours
            )
        )


def _describe(
    active: Any, name: str, location: DataflowLocation, job_id: str, log: Log
) -> None:
    page = location.page(job_id)
    if active:
        started = f"{active.create_time:%Y-%m-%d %H:%M} UTC"
        log(f"Dataflow runs {name} already, started {started}: waiting: {page}")
    else:
        log(f"Dataflow runs {name}: {page}")
    log(f"its id is {job_id}; to end it: {location.cancel_command(job_id)}")


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
    job_id: str,
    state: str,
    used: JobUsage | None,
    *,
    output: str,
    options: PipelineOptions,
    log: Log,
) -> None:
    """Adds a job, which is not counted as long as its usage is not known."""
    try:
        bill.add_job(
            output,
            job_id,
            state=state,
            resources=used.resources if used else None,
            pool=job_options.pool(options),
        )
    except (ValueError, OSError) as error:  # Why a job has failed matters more.
        log(f"warning: this is not in the bill: {error}")
