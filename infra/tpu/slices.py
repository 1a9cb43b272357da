"""Chips and hosts of a TPU slice, by its accelerator type.

A host is a virtual machine, with one JAX process. The tables of Google's pages (read in
stored copies of 2025 and 2026) also count physical machines of eight chips as hosts,
half as many:

  docs.cloud.google.com/tpu/docs/v6e   chips and VMs: 8 chips 1 VM, 16 4, 32 8, 256 64
  docs.cloud.google.com/tpu/docs/v5p   cores, chips and machines: 8 4 1, 128 64 16
  docs.cloud.google.com/tpu/docs/v4    two TensorCores a chip, 4096 chips a pod
  GoogleCloudPlatform/saxml-on-gke     v5litepod-8 1 VM, -16 4, -32 8, with 4 chips each
  docs.cloud.google.com/tpu/docs/runtimes   images of the VMs
"""

from __future__ import annotations

import dataclasses

#: Chips of a host of a slice that has several.
CHIPS_PER_HOST = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class TpuGeneration:
    """How the slices of a generation of TPUs are named and divided.

    Attributes:
        runtime_version: Image of the virtual machines.
        cores_per_chip: TensorCores that the number in the name counts for each chip; 1
            where it counts chips.
        max_chips: Chips of the largest slice.
        on_one_host: Numbers of chips that one host can have.
    """

    runtime_version: str
    cores_per_chip: int
    max_chips: int
    on_one_host: tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TpuSlice:
    """A slice of TPU chips.

    Attributes:
        accelerator_type: Name of its size, as `v5litepod-32`.
        runtime_version: Image of its virtual machines.
        chips: Number of chips.
        hosts: Number of virtual machines.
    """

    accelerator_type: str
    runtime_version: str
    chips: int
    hosts: int

    def describe_cost(self, hours: float, price: float | None) -> str:
        """Returns hours, chip-hours and, if the price of one is known, their price."""
        chip_hours = hours * self.chips
        line = f"{hours:.4g} hours, {chip_hours:,.6g} chip-hours"
        return line if price is None else f"{line}, {chip_hours * price:,.2f} in all"


GENERATIONS = {
    "v4": TpuGeneration(
        runtime_version="tpu-ubuntu2204-base",
        cores_per_chip=2,
        max_chips=4096,
        on_one_host=(4,),
    ),
    "v5litepod": TpuGeneration(
        runtime_version="v2-alpha-tpuv5-lite",
        cores_per_chip=1,
        max_chips=256,
        on_one_host=(1, 4, 8),
    ),
    "v5p": TpuGeneration(
        runtime_version="v2-alpha-tpuv5",
        cores_per_chip=2,
        max_chips=6144,
        on_one_host=(4,),
    ),
    "v6e": TpuGeneration(
        runtime_version="v2-alpha-tpuv6e",
        cores_per_chip=1,
        max_chips=256,
        on_one_host=(1, 4, 8),
    ),
}


def find_slice(accelerator_type: str) -> TpuSlice:
    """Returns the slice of an accelerator type.

    Raises:
        ValueError: If the type is none, or has a number that no slice has.
    """
    name, _, number = accelerator_type.partition("-")
    generation = GENERATIONS.get(name)
    if generation is None or not number.isdecimal():
        raise ValueError(
            f"expected an accelerator type as {'-N, '.join(GENERATIONS)}-N, got "
            f"{accelerator_type!r}"
        )
    chips, rest = divmod(int(number), generation.cores_per_chip)
    if chips in generation.on_one_host and not rest:
        hosts = 1
    else:
        hosts, part = divmod(chips, CHIPS_PER_HOST)
        # Of v5e and v6e, the number is that of chips, and a power of two.
        is_odd = generation.cores_per_chip == 1 and chips & (chips - 1)
        if rest or part or is_odd or not 0 < chips <= generation.max_chips:
            raise ValueError(
                f"expected an accelerator type of whole hosts, at most "
                f"{name}-{generation.max_chips * generation.cores_per_chip}, got "
                f"{accelerator_type}"
            )
    return TpuSlice(
        accelerator_type=accelerator_type,
        runtime_version=generation.runtime_version,
        chips=chips,
        hosts=hosts,
    )
