"""Options of a Dataflow job: checks them, adds defaults.

`docs/dataflow.md` starts from an empty project.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import datetime

from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    WorkerOptions,
)

from beam_jobs.runners.cost import Pool
from beam_jobs.runners.dataflow import accelerators
from beam_jobs.runners.options import is_dataflow

#: Default machine without an accelerator: 4 vCPUs, 16 GB.
MACHINE_TYPE = "n2-standard-4"
#: Default limit of Dataflow's autoscaling: bounds the cost of a mistake.
MAX_NUM_WORKERS = 10
#: Default disk of a worker. The container takes 5 GB unpacked, with CUDA 10 GB.
DISK_SIZE_GB = 50

#: Key of the label that every job has; the value is the end of its output.
LABEL = "noisy-student-rs"
#: Key of the label by which a job with the same output is found.
OUTPUT_LABEL = "noisy-student-rs-output"
#: Maximum characters of a name in a job name, which has 63 with time and random ones.
_MAX_SLUG = 40
_BUCKET_PATH = re.compile(r"gs://[a-z0-9][-_a-z0-9.]+[a-z0-9]/.+")


def fill_in(options: PipelineOptions, *, name: str, now: datetime) -> None:
    """Checks the options of a Dataflow job and adds defaults, in place.

    Options of other runners stay as they are. The job is named after its output `name`
    and the time `now`.
    """
    if not is_dataflow(options):
        return
    _require_options(options)
    cloud = options.view_as(GoogleCloudOptions)
    cloud.job_name = cloud.job_name or job_name(name, now)
    cloud.labels = [
        *(cloud.labels or []),
        f"{LABEL}={_slug(name)}",
        f"{OUTPUT_LABEL}={_digest(name)}",
    ]
    setup = options.view_as(SetupOptions)
    # The container holds all code, in modules.
    setup.sdk_location = "container"
    setup.save_main_session = False
    _fill_in_workers(options)


def job_name(name: str, now: datetime) -> str:
    """Returns a unique name that Dataflow accepts."""
    slug = _slug(name)
    if not slug[:1].isalpha():
        slug = f"job-{slug}"[:_MAX_SLUG].rstrip("-")
    return f"{slug}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def require_bucket(**paths: str) -> None:
    """Raises ValueError if a path, by the name of its flag, is not in a bucket."""
    for flag, path in paths.items():
        if not path.startswith("gs://"):
            raise ValueError(
                f"expected --{flag} in a bucket, gs://..., the only storage that "
                f"Dataflow's workers reach; got {path!r}"
            )


def pool(options: PipelineOptions) -> Pool:
    """Returns the largest pool of workers that complete options allow."""
    workers = options.view_as(WorkerOptions)
    return Pool(
        machine=workers.machine_type,
        workers=workers.max_num_workers,
        disk_gb=workers.disk_size_gb,
        accelerator=accelerators.accelerator_name(options),
    )


def _digest(name: str) -> str:
    """Returns 16 hexadecimal digits that stand for the whole name of an output."""
    return hashlib.sha256(name.rstrip("/").encode()).hexdigest()[:16]


def _slug(name: str) -> str:
    """Returns the end of a name in the characters of job names and label values."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return slug[-_MAX_SLUG:].strip("-")


def _require_options(options: PipelineOptions) -> None:
    cloud = options.view_as(GoogleCloudOptions)
    needed = {
        "--project (make: PROJECT=)": cloud.project,
        "--region (make: REGION=)": cloud.region,
        "--temp_location=gs://... (make: BUCKET=)": cloud.temp_location,
        "--sdk_container_image (make: IMAGE=)": (
            options.view_as(WorkerOptions).sdk_container_image
        ),
    }
    missing = [option for option, value in needed.items() if not value]
    if missing:
        raise ValueError(f"Dataflow needs {', '.join(missing)}")
    for location in (cloud.temp_location, cloud.staging_location):
        # Beam would replace a wrong path by a bucket of its own.
        if location and not _BUCKET_PATH.fullmatch(location):
            raise ValueError(f"expected gs://BUCKET/FOLDER, got {location!r}")
    if cloud.template_location:
        raise ValueError(
            "expected no --template_location: it writes a template and runs nothing"
        )


def _fill_in_workers(options: PipelineOptions) -> None:
    workers = options.view_as(WorkerOptions)
    workers.autoscaling_algorithm = workers.autoscaling_algorithm or "THROUGHPUT_BASED"
    workers.disk_size_gb = workers.disk_size_gb or DISK_SIZE_GB
    workers.max_num_workers = workers.max_num_workers or max(
        MAX_NUM_WORKERS, workers.num_workers or 0
    )
    debug = options.view_as(DebugOptions)
    if accelerators.accelerator_name(options) is None:
        # Beam starts a process for each vCPU; one thread in each bounds the memory.
        machine_type, threads = MACHINE_TYPE, 1
    else:
        machine_type = accelerators.add(options).machine_type
        # One process, as each would claim the whole device; two threads, so that one
        # shard is decoded while the network predicts another.
        debug.add_experiment("no_use_multiple_sdk_containers")
        threads = 2
    workers.machine_type = workers.machine_type or machine_type
    debug.number_of_worker_harness_threads = (
        debug.number_of_worker_harness_threads or threads
    )
