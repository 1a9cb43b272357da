"""Accelerators of Dataflow's workers, and Beam's options for them."""

from __future__ import annotations

import dataclasses
from typing import Any

from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
    WorkerOptions,
)


@dataclasses.dataclass(frozen=True)
class Accelerator:
    """An accelerator that a worker may have one of.

    Attributes:
        machine_type: Default machine type; others are of the same family.
    """

    machine_type: str


#: By Dataflow's name of the type.
ACCELERATORS = {
    "nvidia-tesla-t4": Accelerator("n1-standard-4"),
    "nvidia-l4": Accelerator("g2-standard-8"),
}
#: Accelerators that every machine of a family has and bills.
_BUILT_IN = {"g2": "nvidia-l4"}
#: Families whose machines all have others, which no job here can be given.
_OTHER_GPUS = ("a2", "a3", "a4", "a4x", "g4")
_OPTION = "worker_accelerator="
_DRIVER = "install-nvidia-driver:5xx"
_NO_TPU = "no job has an engine for TPUs, which would label on their machines' CPUs"


class AcceleratorOptions(PipelineOptions):
    """Adds `--accelerator` to Beam's options."""

    @classmethod
    def _add_argparse_args(cls, parser: Any) -> None:
        parser.add_argument(
            "--accelerator",
            default=None,
            help=f"Accelerator of each worker: {', '.join(ACCELERATORS)}.",
        )


def accelerator_name(options: PipelineOptions) -> str | None:
    """Returns the value of `--accelerator`."""
    name: str | None = options.view_as(AcceleratorOptions).accelerator
    return name


def complete(options: PipelineOptions) -> None:
    """Completes the options of the accelerator and its machine type, in place.

    It is named by `--accelerator` or by the service option `worker_accelerator=`, which
    may say more, such as `;provisioning_model:FLEX_START`.

    Raises:
        ValueError: If the service would refuse it, or the job could not use it.
    """
    given = _given(options)
    name = accelerator_name(options) or given.get("type")
    workers = options.view_as(WorkerOptions)
    if name is None:
        _check_machine_without(workers.machine_type or "")
        return
    _check_name(name, given)
    machine_type = ACCELERATORS[name].machine_type
    workers.machine_type = workers.machine_type or machine_type
    _check_machine(name, workers.machine_type)
    cloud = options.view_as(GoogleCloudOptions)
    if cloud.flexrs_goal == "COST_OPTIMIZED":
        raise ValueError(f"--flexrs_goal=COST_OPTIMIZED has no GPUs, got {name}")
    options.view_as(AcceleratorOptions).accelerator = name
    if not given:
        cloud.dataflow_service_options = [
            *(cloud.dataflow_service_options or []),
            f"{_OPTION}type:{name};count:1;{_DRIVER}",
        ]


def _given(options: PipelineOptions) -> dict[str, str]:
    """Returns the parts of the service option `worker_accelerator=`, if it is given."""
    experiments = options.view_as(DebugOptions).experiments or []
    if any(experiment.startswith(_OPTION) for experiment in experiments):
        raise ValueError(
            f"expected --accelerator (make: ACCELERATOR=), or {_OPTION} as one of "
            "--dataflow_service_options, in place of an experiment"
        )
    hints = options.view_as(StandardOptions).resource_hints
    if any(hint.partition("=")[0] == "accelerator" for hint in hints):
        raise ValueError(
            "expected --accelerator (make: ACCELERATOR=) in place of a --resource_hint"
        )
    services = options.view_as(GoogleCloudOptions).dataflow_service_options or []
    given = [option for option in services if option.startswith(_OPTION)]
    if len(given) > 1:
        raise ValueError(f"expected one {_OPTION}, got {len(given)}")
    if not given:
        return {}
    parts = [part.partition(":") for part in given[0].removeprefix(_OPTION).split(";")]
    values = {name: value for name, _, value in parts}
    if not values.get("type"):
        raise ValueError(f"expected {_OPTION}type:NAME;..., got one without a type")
    return values


def _check_name(name: str, given: dict[str, str]) -> None:
    if name not in ACCELERATORS:
        hint = f": {_NO_TPU}" if "tpu" in name else ""
        raise ValueError(
            f"expected --accelerator as one of {', '.join(ACCELERATORS)}, got "
            f"{name!r}{hint}"
        )
    if not given:
        return
    if given["type"] != name:
        raise ValueError(
            f"expected one accelerator, got --accelerator={name} and {_OPTION} of "
            f"type {given['type']!r}"
        )
    if given.get("count", "1") != "1":
        raise ValueError(
            f"expected {_OPTION} with count:1, as a worker has one process, which uses "
            f"one accelerator; got count:{given['count']}"
        )
    if "install-nvidia-driver" not in given:
        raise ValueError(f"expected {_OPTION} with ;{_DRIVER}")


def _check_machine(name: str, machine_type: str) -> None:
    default = ACCELERATORS[name].machine_type
    if _family(machine_type) != _family(default):
        raise ValueError(
            f"expected a machine type {_family(default)}-... with {name}, such as "
            f"{default}; got {machine_type!r}"
        )


def _check_machine_without(machine_type: str) -> None:
    family = _family(machine_type)
    if family in _BUILT_IN:
        raise ValueError(
            f"{machine_type} has a GPU, and bills it: expected --accelerator="
            f"{_BUILT_IN[family]} (make: ACCELERATOR=), or another machine type"
        )
    if family in _OTHER_GPUS:
        raise ValueError(
            f"{machine_type} has a GPU, bills it, and no job would use it: expected "
            f"another machine type, or --accelerator={' or '.join(ACCELERATORS)}"
        )
    if family.startswith("ct"):
        raise ValueError(f"{machine_type} is a machine of TPUs: {_NO_TPU}")


def _family(machine_type: str) -> str:
    """Returns the first word of a machine type, such as n2."""
    return machine_type.partition("-")[0]
