"""Finds the job that an earlier start of the same command has left running."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    WorkerOptions,
)
from google.cloud import dataflow

from beam_jobs.runners.dataflow import api
from beam_jobs.runners.dataflow.job_options import OUTPUT_LABEL
from beam_jobs.runners.dataflow.location import DataflowLocation
from beam_jobs.runners.dataflow.states import ENDED, ENDING, state_of
from stage.system import read_in_parallel

#: Key of the label of what a job runs: its container and the steps of its graph.
PROGRAM_LABEL = "noisy-student-rs-program"


def add_program_label(options: PipelineOptions, steps: Iterable[str]) -> None:
    """Labels a job by its container and the names of its steps, in place."""
    image = options.view_as(WorkerOptions).sdk_container_image
    content = "\n".join([image, *sorted(steps)])
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]
    cloud = options.view_as(GoogleCloudOptions)
    cloud.labels = [*(cloud.labels or []), f"{PROGRAM_LABEL}={digest}"]


def find(client: Any, options: PipelineOptions) -> dataflow.Job | None:
    """Returns the active job that has the output and the program of `options`.

    Args:
        client: Beam's client of the service.
        options: Options of a job, with its labels.

    Raises:
        RuntimeError: If active jobs have the same output but cannot be waited for.
    """
    location = DataflowLocation.of(options)
    pairs = [
        label.partition("=") for label in options.view_as(GoogleCloudOptions).labels
    ]
    labels = {key: value for key, _, value in pairs}
    batch = [
        job
        for job in api.list_active_jobs(client, location)
        if job.type_ != dataflow.JobType.JOB_TYPE_STREAMING
    ]
    described = read_in_parallel(functools.partial(_describe, client, location), batch)
    return choose(described, labels, location)


def choose(
    jobs: Sequence[dataflow.Job],
    labels: Mapping[str, str],
    location: DataflowLocation,
) -> dataflow.Job | None:
    """Returns the one of active jobs to wait for instead of starting a job.

    Raises RuntimeError if it has the same output but another program, is ending, or is
    not the only one. `labels` are those of the job to start.
    """
    same = [
        job
        for job in jobs
        if job.labels.get(OUTPUT_LABEL) == labels[OUTPUT_LABEL]
        and state_of(job) not in ENDED
    ]
    if not same:
        return None
    job = same[0]
    if len(same) > 1:
        names = ", ".join(f"{job.name} ({job.id})" for job in same)
        raise RuntimeError(
            f"expected at most one active job with this output, got {names}; cancel "
            f"all but one, as {location.cancel_command(job.id)}"
        )
    cancelled = dataflow.JobState.JOB_STATE_CANCELLED
    if state_of(job) in ENDING or job.requested_state == cancelled:
        raise RuntimeError(
            f"{job.name} ({job.id}), which has this output, is being cancelled; start "
            f"again when it has ended: {location.page(job.id)}"
        )
    if job.labels.get(PROGRAM_LABEL) != labels[PROGRAM_LABEL]:
        raise RuntimeError(
            f"{job.name} ({job.id}) writes this output with another container or "
            "another stage; start again when it has ended, or end it: "
            f"{location.cancel_command(job.id)}"
        )
    return job


def _describe(
    client: Any, location: DataflowLocation, job: dataflow.Job
) -> dataflow.Job:
    """Returns a job of a list with its labels, which summaries leave out."""
    if job.labels:
        return job
    view = dataflow.JobView.JOB_VIEW_DESCRIPTION
    return api.read_job(client, location, job.id, view)
