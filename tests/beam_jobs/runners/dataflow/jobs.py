"""Options and graph of a Dataflow job to test with."""

from datetime import datetime

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from beam_jobs.io.shards import Shards
from beam_jobs.runners.dataflow import job_options
from beam_jobs.runners.options import PipelineJob

IMAGE = "europe-west4-docker.pkg.dev/my-project/repository/worker:1"
NOW = datetime(2026, 11, 22, 13, 5, 9)
NEEDED = {
    "project": "my-project",
    "region": "europe-west4",
    "temp_location": "gs://my-bucket/tmp",
    "sdk_container_image": IMAGE,
}


def options(*more, **needed):
    flags = [f"--{name}={value}" for name, value in (NEEDED | needed).items() if value]
    # Without a list of what is installed here, which takes a second each time.
    hasty = "--experiments=disable_logging_submission_environment"
    return PipelineOptions(["--runner=DataflowRunner", hasty, *flags, *more])


def filled(*more, **needed):
    found = options(*more, **needed)
    job_options.fill_in(found, name="runs/birds/round-1/predictions", now=NOW)
    return found


def for_service(service, *more):
    """Returns the complete options of a job to submit to a fake of the service."""
    endpoint = f"--dataflow_endpoint={service.url}"
    return filled("--no_auth", endpoint, "--job_name=birds", *more)


def as_job(build, *, output, prepare=lambda: None):
    return PipelineJob(build=build, output=str(output), prepare=prepare)


def labeling(pipeline):
    """Builds a graph of the shape of the labeling job."""
    shards = pipeline | "Shards" >> Shards(3)
    return shards | "Label" >> beam.Map(lambda index: index + 1)
