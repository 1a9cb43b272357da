"""Accelerators of Dataflow's workers, and Beam's options for them."""

from __future__ import annotations

import dataclasses
from typing import Any

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions


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


def accelerator_name(options: PipelineOptions) -> str | None:
    """Returns the value of `--accelerator`."""
    name: str | None = options.view_as(AcceleratorOptions).accelerator
    return name


def add(options: PipelineOptions) -> Accelerator:
    """Adds the service option of the accelerator that `--accelerator` names.

    Raises ValueError if there is no such accelerator, or one is given in both ways.
    """
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
