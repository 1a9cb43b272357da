"""What a job on Dataflow needs, from the options that it would be submitted with."""

from __future__ import annotations

import dataclasses
import re

from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    WorkerOptions,
)

from beam_jobs.runners.cost import Pool
from beam_jobs.runners.dataflow import job_options

#: Name of the container repository and of the workers' default account.
NAME = "noisy-student-rs"
_BUCKET = re.compile(r"gs://([^/]+)")
_SUBNETWORK = re.compile(
    r"(?:.*projects/(?P<project>[^/]+)/)?regions/(?P<region>[^/]+)/subnetworks/(?P<name>[^/]+)"
)


@dataclasses.dataclass(frozen=True)
class Subnet:
    """A subnet, which may be another project's."""

    name: str
    region: str
    project: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """A job as far as it needs something of a project.

    Attributes:
        bucket: Name without gs://.
        account: Email address of the workers' service account.
        pool: The most workers, their machines and disks.
        subnet: Subnet of workers without public addresses; None if they have some.
        image: The container; None if it is none of the project's own.
        images_bucket: Name of the images' bucket, if it is another one.
        builds_in_cloud: Whether `make container` has Cloud Build build it.
    """

    project: str
    region: str
    bucket: str
    account: str
    pool: Pool
    subnet: Subnet | None
    image: str | None
    images_bucket: str | None
    builds_in_cloud: bool

    @property
    def uses_ssd(self) -> bool:
        """Whether the workers' disks count as SSD."""
        return bool(re.search("ssd|balanced", self.pool.disk_type))

    @property
    def url(self) -> str:
        """The bucket's gs:// address."""
        return f"gs://{self.bucket}"

    @property
    def images_url(self) -> str:
        """The gs:// address of the images' bucket."""
        return f"gs://{self.images_bucket or self.bucket}"


def from_options(
    options: PipelineOptions, *, images: str, owns_image: bool, builds_in_cloud: bool
) -> Target:
    """Returns what a job with these complete options needs.

    `images` is where they are, in words that have the bucket's address if there is one.
    """
    cloud = options.view_as(GoogleCloudOptions)
    workers = options.view_as(WorkerOptions)
    if not cloud.service_account_email:
        raise ValueError("expected --service_account_email, the workers' account")
    bucket = cloud.temp_location.removeprefix("gs://").partition("/")[0]
    found = _BUCKET.search(images)
    return Target(
        project=cloud.project,
        region=cloud.region,
        bucket=bucket,
        account=cloud.service_account_email,
        pool=job_options.pool(options),
        # Without an option, the service gives workers public addresses.
        subnet=_subnet(cloud, workers) if workers.use_public_ips is False else None,
        image=workers.sdk_container_image if owns_image else None,
        images_bucket=found[1] if found and found[1] != bucket else None,
        builds_in_cloud=owns_image and builds_in_cloud,
    )


def _subnet(cloud: GoogleCloudOptions, workers: WorkerOptions) -> Subnet:
    if not workers.subnetwork:
        # In a network of automatic mode, as the default one, subnets have its name.
        return Subnet(workers.network or "default", cloud.region, cloud.project)
    match = _SUBNETWORK.fullmatch(workers.subnetwork)
    if match is None:
        raise ValueError(
            "expected --subnetwork=regions/REGION/subnetworks/NAME, got "
            f"{workers.subnetwork!r}"
        )
    project = match["project"] or cloud.project
    return Subnet(match["name"], match["region"], project)
