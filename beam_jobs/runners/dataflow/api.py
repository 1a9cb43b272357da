"""Requests that Beam's client of the service has no methods for, and its login."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import google.auth
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.runners.dataflow.internal import apiclient
from google.cloud import dataflow

from beam_jobs.runners.dataflow.location import DataflowLocation


def check_login(options: PipelineOptions) -> None:
    """Fails at once without a login, which Beam would look for again and again."""
    cloud = options.view_as(GoogleCloudOptions)
    if not cloud.no_auth:
        google.auth.default(scopes=cloud.gcp_oauth_scopes)


def list_active_jobs(client: Any, location: DataflowLocation) -> Iterator[dataflow.Job]:
    """Yields the active jobs of a project and region, without labels and options."""
    request = dataflow.ListJobsRequest(
        project_id=location.project,
        location=location.region,
        filter=dataflow.ListJobsRequest.Filter.ACTIVE,
    )
    yield from client._jobs_client.list_jobs(request=request)


def read_job(
    client: Any,
    location: DataflowLocation,
    job_id: str,
    view: dataflow.JobView = dataflow.JobView.JOB_VIEW_SUMMARY,
) -> dataflow.Job:
    """Returns a job; unlike Beam's `get_job`, fails at once if there is none."""
    request = dataflow.GetJobRequest(
        project_id=location.project,
        location=location.region,
        job_id=job_id,
        view=view,
    )
    return client._jobs_client.get_job(request=request)


@contextlib.contextmanager
def without_log() -> Iterator[None]:
    """Drops what Beam's client logs about a request whose error is reported."""
    logger = logging.getLogger(apiclient.__name__)
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
