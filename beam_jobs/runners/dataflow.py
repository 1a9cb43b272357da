"""Runs a job on Google Cloud Dataflow: completes options, checks the graph, waits.

Before submission, a dry run builds the graph and `check` validates it.
`docs/dataflow.md` starts from an empty project.
"""

from __future__ import annotations

import copy
import dataclasses
import re
import secrets
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    TestOptions,
    WorkerOptions,
)
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.dataflow.dataflow_runner import DataflowRuntimeException
from apache_beam.runners.runner import PipelineState

from beam_jobs.runners.cost import Pool
from beam_jobs.runners.options import Build, is_dataflow
from stage.cli import Log

#: Default machine without an accelerator: 4 vCPUs, 16 GB.
MACHINE_TYPE = "n2-standard-4"
#: Default limit of Dataflow's autoscaling: bounds the cost of a mistake.
MAX_NUM_WORKERS = 10
#: Default disk of a worker. The container takes 5 GB unpacked, with CUDA 10 GB.
DISK_SIZE_GB = 50
#: The service's limit of a job graph, which grows with the number of shards.
MAX_GRAPH_BYTES = 20_000_000

_LABEL = "noisy-student-rs"
#: Maximum characters of a name in a job name, which has 63 with time and random ones.
_MAX_SLUG = 40
_BUCKET_PATH = re.compile(r"gs://[a-z0-9][-_a-z0-9.]+[a-z0-9]/.+")
_CONSOLE = "https://console.cloud.google.com/dataflow/jobs"


@dataclasses.dataclass(frozen=True)
class Accelerator:
    """Dataflow's options for one accelerator per worker.

    Attributes:
        worker_accelerator: Value of the service option of that name.
        machine_type: Default machine type; TPUs support no other.
    """

    worker_accelerator: str
    machine_type: str


_DRIVER = "count:1;install-nvidia-driver:5xx"
ACCELERATORS = {
    "nvidia-tesla-t4": Accelerator(f"type:nvidia-tesla-t4;{_DRIVER}", "n1-standard-4"),
    "nvidia-l4": Accelerator(f"type:nvidia-l4;{_DRIVER}", "g2-standard-8"),
    "tpu-v5e": Accelerator(
        "type:tpu-v5-lite-podslice;topology:1x1", "ct5lp-hightpu-1t"
    ),
    "tpu-v6e": Accelerator("type:tpu-v6e-slice;topology:1x1", "ct6e-standard-1t"),
}


class AcceleratorOptions(PipelineOptions):
    """Adds `--accelerator` to Beam's options."""

    @classmethod
    def _add_argparse_args(cls, parser: Any) -> None:
        parser.add_argument(
            "--accelerator",
            default=None,
            help=f"Accelerator of each worker: {', '.join(ACCELERATORS)}.",
        )


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
    cloud.labels = [*(cloud.labels or []), f"{_LABEL}={_slug(name)}"]
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


def accelerator_name(options: PipelineOptions) -> str | None:
    """Returns the value of `--accelerator`."""
    name: str | None = options.view_as(AcceleratorOptions).accelerator
    return name


def pool(options: PipelineOptions) -> Pool:
    """Returns the largest pool of workers that complete options allow."""
    workers = options.view_as(WorkerOptions)
    return Pool(
        machine=workers.machine_type,
        workers=workers.max_num_workers,
        disk_gb=workers.disk_size_gb,
        accelerator=accelerator_name(options),
    )


def check(build: Build, options: PipelineOptions, *, may_shuffle: bool = False) -> None:
    """Checks the graph of a dry run, which needs no network and changes no options.

    Raises:
        ValueError: If a stage needs another environment than the given container or,
            unless it may, would shuffle its output, or the graph is too large.
    """
    dry = copy.deepcopy(options)
    dry.view_as(TestOptions).dry_run = True
    pipeline = beam.Pipeline(options=dry)
    build(pipeline)
    try:
        graph = pipeline.run().job.proto_pipeline
    except ImportError as error:
        raise ValueError(
            f"Dataflow needs pip install -c constraints.txt -e '.[gcp]': {error}"
        ) from error
    _check_environment(graph, options.view_as(WorkerOptions).sdk_container_image)
    if not may_shuffle:
        _check_shuffles(graph)
    if graph.ByteSize() > MAX_GRAPH_BYTES:
        raise ValueError(
            f"expected a job graph of at most {MAX_GRAPH_BYTES:,} bytes, got "
            f"{graph.ByteSize():,}: pack the images into fewer, larger TFRecords"
        )


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
    if accelerator_name(options) is None:
        # Beam starts a process for each vCPU; one thread in each bounds the memory.
        machine_type, threads = MACHINE_TYPE, 1
    else:
        machine_type = _add_accelerator(options).machine_type
        # One process, as each would claim the whole device; two threads, so that one
        # shard is decoded while the network predicts another.
        debug.add_experiment("no_use_multiple_sdk_containers")
        threads = 2
    workers.machine_type = workers.machine_type or machine_type
    debug.number_of_worker_harness_threads = (
        debug.number_of_worker_harness_threads or threads
    )


def _add_accelerator(options: PipelineOptions) -> Accelerator:
    name = accelerator_name(options)
    if name not in ACCELERATORS:
        raise ValueError(
            f"expected --accelerator as one of {', '.join(ACCELERATORS)}, got {name!r}"
        )
    accelerator = ACCELERATORS[name]
    cloud = options.view_as(GoogleCloudOptions)
    given = cloud.dataflow_service_options or []
    if any(option.startswith("worker_accelerator=") for option in given):
        raise ValueError("expected --accelerator or worker_accelerator=, got both")
    added = f"worker_accelerator={accelerator.worker_accelerator}"
    cloud.dataflow_service_options = [*given, added]
    return accelerator


def _check_environment(graph: Any, image: str) -> None:
    payload_type = beam_runner_api_pb2.DockerPayload
    found = [
        payload_type.FromString(environment.payload).container_image
        for environment in graph.components.environments.values()
    ]
    if found != [image]:
        raise ValueError(
            f"expected one environment for all stages, {image}, got "
            f"{len(found)}: {', '.join(sorted(found))}; stages of several "
            "environments are not fused, so their outputs would cross a shuffle"
        )


def _check_shuffles(graph: Any) -> None:
    """Raises if anything but the list of shards would cross a shuffle."""
    transforms = graph.components.transforms
    start = set(_starting_transforms(transforms))
    producers = {
        output: name
        for name, transform in transforms.items()
        if not transform.subtransforms
        for output in transform.outputs.values()
    }
    for name, transform in transforms.items():
        if transform.spec.urn != common_urns.primitives.GROUP_BY_KEY.urn:
            continue
        late = {name, *_upstream(name, transforms, producers)} - start
        if late:
            stages = sorted(transforms[stage].unique_name for stage in late)
            raise ValueError(
                f"{transform.unique_name} would shuffle the output of {stages[0]}; "
                "only the list of shards may cross a shuffle"
            )


def _starting_transforms(transforms: Any) -> Iterator[str]:
    """Yields the transforms inside of every Create and every Reshuffle."""
    for transform in transforms.values():
        is_create = any(
            transforms[child].spec.urn == common_urns.primitives.IMPULSE.urn
            for child in transform.subtransforms
        )
        if is_create or transform.spec.urn == common_urns.composites.RESHUFFLE.urn:
            yield from _leaves(transform, transforms)


def _leaves(transform: Any, transforms: Any) -> Iterator[str]:
    for name in transform.subtransforms:
        if transforms[name].subtransforms:
            yield from _leaves(transforms[name], transforms)
        else:
            yield name


def _upstream(name: str, transforms: Any, producers: dict[str, str]) -> Iterator[str]:
    for source in transforms[name].inputs.values():
        yield producers[source]
        yield from _upstream(producers[source], transforms, producers)
