"""Options of Beam for the runners of a run file."""

from __future__ import annotations

import shutil

from beam_jobs.runners.dataflow.container import image_name
from workflow.chain.stage import Argument, places, settings
from workflow.run_file.config import (
    AUTO,
    DataflowSection,
    LabelingSection,
    RunnerSection,
)

#: Usual options by the name of a runner; those of Flink are for the cluster that
#: `python -m infra.flink up` starts.
_OPTIONS = {
    "local": ("--runner=FnApiRunner",),
    "flink": (
        "--runner=PortableRunner",
        "--job_endpoint=localhost:8099",
        "--environment_type=EXTERNAL",
        "--environment_config=localhost:50001",
        "--parallelism=2",
    ),
    "prism": ("--runner=PrismRunner", "--environment_type=LOOPBACK"),
}
#: Engine of Dataflow's workers; the fastest on this machine need not be theirs.
_ENGINES = {False: "openvino", True: "tensorflow"}


def options(runner: RunnerSection, *, labeling: bool) -> tuple[str, ...]:
    """Returns the options for a job of the run; `labeling` is one that may use GPUs.

    Raises:
        ValueError: If the runner cannot be found.
    """
    if runner.name == "dataflow":
        return _dataflow_options(runner.dataflow, labeling=labeling)
    if runner.beam_options is not None:
        return runner.beam_options
    return (*_OPTIONS[runner.name], *(_prism(runner) if runner.name == "prism" else ()))


def local_options(runner: RunnerSection) -> tuple[str, ...]:
    """Returns the options for a job that reads directories of this machine."""
    if runner.name == "dataflow":
        return _OPTIONS["local"]
    return options(runner, labeling=False)


def engine(
    labeling: LabelingSection, runner: RunnerSection | None
) -> tuple[Argument, ...]:
    """Returns the flags for what multiplies; without a runner, on this machine."""
    given = {
        name: value
        for name, value in (("engine", labeling.engine), ("dtype", labeling.dtype))
        if value != AUTO
    }
    if runner is None or runner.name != "dataflow":
        return settings(**given)
    usual = {"engine": _ENGINES[bool(runner.dataflow.accelerator)], "dtype": "float32"}
    rate = runner.dataflow.images_per_second
    # As with `auto` on this machine, what multiplies decides only if it was asked for.
    return (
        *places(**{name: v for name, v in usual.items() if name not in given}),
        *settings(**given),
        *places(images_per_second=f"{rate:g}" if rate else ""),
    )


def _prism(runner: RunnerSection) -> tuple[str, ...]:
    path = runner.prism or shutil.which("prism")
    if path is None:
        raise ValueError(
            "expected Beam's binary `prism` on the PATH, or runner.prism, its path"
        )
    return (f"--prism_location={path}",)


def _dataflow_options(section: DataflowSection, *, labeling: bool) -> tuple[str, ...]:
    account = section.worker_account or (
        f"noisy-student-rs@{section.project}.iam.gserviceaccount.com"
    )
    accelerator = section.accelerator
    # The accelerator, and the machine type that has it, are for labeling alone.
    machine = section.machine if labeling or not accelerator else ""
    further = section.options
    if not labeling:
        prefix = "--dataflow_service_options=worker_accelerator="
        further = tuple(word for word in further if not word.startswith(prefix))
    return (
        "--runner=DataflowRunner",
        f"--project={section.project}",
        f"--region={section.region}",
        f"--temp_location={section.bucket_path}tmp",
        f"--sdk_container_image={container_image(section)}",
        f"--service_account_email={account}",
        "--no_use_public_ips",
        f"--max_num_workers={section.max_workers}",
        f"--max_hours={section.max_hours:g}",
        *further,
        *([f"--machine_type={machine}"] if machine else []),
        *([f"--accelerator={accelerator}"] if accelerator and labeling else []),
    )


def container_image(section: DataflowSection) -> str:
    """Returns the name of the workers' container.

    Raises:
        ValueError: If none is given, and this is no clone that has one.
    """
    return section.image or image_name(
        project=section.project,
        region=section.region,
        accelerator=section.accelerator,
    )
