"""Options of a Dataflow job: checks them, adds defaults.

`docs/dataflow.md` starts from an empty project.
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
    TestOptions,
    WorkerOptions,
)

from beam_jobs.runners.cost import PRICES, STANDARD_DISK, Pool, hourly_costs
from beam_jobs.runners.dataflow import accelerators
from beam_jobs.runners.dataflow.interruption import is_cancelling
from beam_jobs.runners.options import is_dataflow
from stage.validation import check

#: Default machine without an accelerator: 4 vCPUs, 16 GB.
MACHINE_TYPE = "n2-standard-4"
#: Default limit of Dataflow's autoscaling: bounds the cost of a mistake.
MAX_NUM_WORKERS = 10
#: Default disk of a worker. The container takes 5 GB unpacked, with CUDA 10 GB.
DISK_SIZE_GB = 50
#: The service's minimum.
MIN_DISK_SIZE_GB = 30
#: Default time after which the service ends a job: bounds the cost of a mistake. What
#: is labeled by then stays, and the same command resumes.
MAX_HOURS = 24.0
#: Shortest and longest time that may be asked for: some workers take minutes to start.
MIN_MAX_HOURS = 0.1
MAX_MAX_HOURS = 744

#: Key of the label that every job has; the value is the end of its output.
LABEL = "noisy-student-rs"
#: Key of the label by which a job with the same output is found.
OUTPUT_LABEL = "noisy-student-rs-output"
#: Maximum characters of a name in a job name, which has 63 with time and random ones.
_MAX_SLUG = 40
_TIME_LIMIT = "max_workflow_runtime_walltime_seconds="
_BUCKET_PATH = re.compile(r"gs://[a-z0-9][-_a-z0-9.]+[a-z0-9]/.+")


class TimeLimitOptions(PipelineOptions):
    """Adds `--max_hours` to Beam's options."""

    @classmethod
    def _add_argparse_args(cls, parser: Any) -> None:
        parser.add_argument(
            "--max_hours",
            type=float,
            default=MAX_HOURS,
            help="Hours after which Dataflow ends a job.",
        )


def fill_in(options: PipelineOptions, *, name: str, now: datetime) -> None:
    """Checks the options of a Dataflow job and adds defaults, in place.

    Options of other runners stay as they are. The job is named after its output `name`
    and the time `now`.
    """
    if not is_dataflow(options):
        return
    _require_options(options)
    _refuse(options)
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
    _limit_time(options)
    _fill_in_workers(options)


def refuse_elsewhere(options: PipelineOptions) -> None:
    """Raises ValueError if another runner has options that only Dataflow reads."""
    given = {
        "--accelerator": accelerators.accelerator_name(options),
        "--max_hours": max_hours(options) != MAX_HOURS,
        "--cancel_on_interrupt": is_cancelling(options),
    }
    for name, is_given in given.items():
        if is_given:
            raise ValueError(f"{name} needs --runner=DataflowRunner")


def start_workers(options: PipelineOptions, *, units: int) -> None:
    """Sets the number of workers that the job begins with, unless the user has.

    Autoscaling alone would begin with one, and climb slowly, as the list of `units` of
    work is small; it still ends workers that have nothing left to do.
    """
    workers = options.view_as(WorkerOptions)
    if not workers.num_workers:
        wanted = math.ceil(units / _units_of_worker(options))
        workers.num_workers = max(1, min(workers.max_num_workers, wanted))


def max_hours(options: PipelineOptions) -> float:
    """Returns the value of `--max_hours`."""
    hours: float = options.view_as(TimeLimitOptions).max_hours
    return hours


def find_max_hours(service_options: Iterable[str]) -> float | None:
    """Returns the limit of hours among the service options of a job, if there is one.

    Raises ValueError if it is no number.
    """
    for option in service_options:
        if option.startswith(_TIME_LIMIT):
            return float(option.removeprefix(_TIME_LIMIT)) / 3600
    return None


def job_name(name: str, now: datetime) -> str:
    """Returns a unique name that Dataflow accepts."""
    slug = _slug(name)
    if not slug[:1].isalpha():
        slug = f"job-{slug}"[:_MAX_SLUG].rstrip("-")
    return f"{slug}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def require_bucket(options: PipelineOptions, **paths: str | Sequence[str]) -> None:
    """Raises ValueError if a job on Dataflow has paths that are not in a bucket.

    `paths` are those of a flag, by its name.
    """
    if not is_dataflow(options):
        return
    for flag, given in paths.items():
        for path in [given] if isinstance(given, str) else given:
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
        disk_type=(workers.disk_type or STANDARD_DISK).rpartition("/")[2],
        accelerator=accelerators.accelerator_name(options),
        is_flexible=(
            options.view_as(GoogleCloudOptions).flexrs_goal == "COST_OPTIMIZED"
        ),
    )


def describe_limit(options: PipelineOptions) -> str:
    """Returns what the workers may cost at most, as a line for the user."""
    largest = pool(options)
    hours = max_hours(options)
    limit = f"at most {largest.workers:,} {largest.worker} for {hours:g} hours"
    try:
        cost = math.fsum(hourly_costs(largest).values()) * largest.workers * hours
    except ValueError as error:
        return f"{limit}; cost unknown: {error}"
    region = options.view_as(GoogleCloudOptions).region
    place = "" if region == PRICES.region else f" for {PRICES.region}, not {region}"
    return (
        f"{limit}, {cost:,.2f} {PRICES.currency} by the prices of {PRICES.date}{place}"
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
        "--sdk_container_image (runner.dataflow.image)": (
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


def _refuse(options: PipelineOptions) -> None:
    """Raises ValueError for options that the service would refuse or not use."""
    cloud = options.view_as(GoogleCloudOptions)
    if cloud.template_location:
        raise ValueError(
            "expected no --template_location: it writes a template and runs nothing"
        )
    for name, is_given in {
        "--update": cloud.update,
        "--streaming": options.view_as(StandardOptions).streaming,
    }.items():
        if is_given:
            raise ValueError(f"expected no {name}: it is for streaming jobs")
    if options.view_as(TestOptions).dry_run:
        raise ValueError("expected no --dry_run: every submission begins with one")
    given = (cloud.dataflow_service_options, options.view_as(DebugOptions).experiments)
    if any("enable_prime" in (each or ()) for each in given):
        raise ValueError("expected no enable_prime: a job has workers of one kind")
    workers = options.view_as(WorkerOptions)
    for name, number in {
        "--num_workers": workers.num_workers,
        "--max_num_workers": workers.max_num_workers,
        "--number_of_worker_harness_threads": options.view_as(
            DebugOptions
        ).number_of_worker_harness_threads,
    }.items():
        if number is not None and number < 0:
            raise ValueError(f"expected a positive {name}, got {number}")
    _check_disk(workers)


def _check_disk(workers: Any) -> None:
    if workers.disk_size_gb and workers.disk_size_gb < MIN_DISK_SIZE_GB:
        raise ValueError(
            f"expected --disk_size_gb of at least {MIN_DISK_SIZE_GB}, Dataflow's "
            f"minimum, got {workers.disk_size_gb}"
        )
    # Its disks are hyperdisks.
    if (workers.machine_type or "").startswith("n4-") and workers.disk_type:
        raise ValueError(
            f"expected no --disk_type with {workers.machine_type}: N4 has no "
            "persistent disks"
        )


def _limit_time(options: PipelineOptions) -> None:
    """Makes the service end a job after `--max_hours`."""
    hours = max_hours(options)
    check(
        MIN_MAX_HOURS <= hours <= MAX_MAX_HOURS,
        f"expected --max_hours from {MIN_MAX_HOURS} to {MAX_MAX_HOURS:,}, got {hours}",
    )
    cloud = options.view_as(GoogleCloudOptions)
    given = cloud.dataflow_service_options or []
    if any(option.startswith(_TIME_LIMIT) for option in given):
        raise ValueError(
            f"expected --max_hours (make: MAX_HOURS=) in place of {_TIME_LIMIT}"
        )
    cloud.dataflow_service_options = [*given, f"{_TIME_LIMIT}{hours * 3600:.0f}"]


def _fill_in_workers(options: PipelineOptions) -> None:
    accelerators.complete(options)
    workers = options.view_as(WorkerOptions)
    workers.autoscaling_algorithm = workers.autoscaling_algorithm or "THROUGHPUT_BASED"
    workers.disk_size_gb = workers.disk_size_gb or DISK_SIZE_GB
    workers.machine_type = workers.machine_type or MACHINE_TYPE
    workers.max_num_workers = workers.max_num_workers or max(
        MAX_NUM_WORKERS, workers.num_workers or 0
    )
    if (workers.num_workers or 0) > workers.max_num_workers:
        raise ValueError(
            f"expected --num_workers of at most {workers.max_num_workers}, which "
            f"--max_num_workers is (make: MAX_WORKERS=), got {workers.num_workers}"
        )
    debug = options.view_as(DebugOptions)
    # Beam starts a process for each vCPU; one thread in each bounds the memory.
    threads = 1
    if accelerators.accelerator_name(options):
        # One process, as each would claim the whole device; two threads, so that one
        # shard is decoded while the network predicts another.
        debug.add_experiment("no_use_multiple_sdk_containers")
        threads = 2
    debug.number_of_worker_harness_threads = (
        debug.number_of_worker_harness_threads or threads
    )


def _units_of_worker(options: PipelineOptions) -> int:
    """Returns the number of units of work that a worker does at a time."""
    threads: int = options.view_as(DebugOptions).number_of_worker_harness_threads
    if accelerators.accelerator_name(options):
        return threads
    # As in n2-standard-4 and n2-custom-4-8192.
    vcpus = re.search(r"-([1-9]\d*)", options.view_as(WorkerOptions).machine_type)
    return threads * int(vcpus[1]) if vcpus else threads
