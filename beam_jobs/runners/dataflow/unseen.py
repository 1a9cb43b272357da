"""Completes a bill by jobs whose end no command has seen, as it was killed."""

from __future__ import annotations

import contextlib
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.dataflow.internal import apiclient
from etils import epath

from beam_jobs.runners.dataflow import api, bill, job_options
from beam_jobs.runners.dataflow.bill import Bill
from beam_jobs.runners.dataflow.location import DataflowLocation
from beam_jobs.runners.dataflow.states import ENDED, state_of
from beam_jobs.runners.dataflow.usage import read_usage


def complete(output: epath.PathLike, found: Bill, options: PipelineOptions) -> Bill:
    """Asks the service for what jobs have used; returns the bill of the output.

    What it does not tell, as of a job that still runs, stays unknown.
    """
    unknown = [job_id for job_id, job in found.jobs.items() if job.resources is None]
    if not unknown:
        return found
    with contextlib.suppress(Exception):  # The bill says what is not counted.
        api.check_login(options)
        client = apiclient.DataflowApplicationClient(options)
        for job_id in unknown:
            found = _add_end(output, job_id, client, options) or found
    return found


def _add_end(
    output: epath.PathLike, job_id: str, client: Any, options: PipelineOptions
) -> Bill | None:
    """Adds what a job has used; returns the bill, or None if that is not known."""
    with contextlib.suppress(Exception):  # Of another project, or deleted.
        job = api.read_job(client, DataflowLocation.of(options), job_id)
        used = read_usage(client, job) if state_of(job) in ENDED else None
        if used is not None:
            return bill.add_job(
                output,
                job_id,
                state=state_of(job),
                resources=used.resources,
                pool=job_options.pool(options),
            )
    return None
