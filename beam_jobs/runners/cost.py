"""Estimates the time and cost of labeling on Dataflow.

The rate is a measured one; the prices are in `prices.json` with date and source.
"""

from __future__ import annotations

import dataclasses
import importlib.resources
import json
import math
from collections.abc import Mapping
from typing import Any

from stage.validation import check

_PRICES_FILE = "prices.json"
#: Types of disks with a price: the standard one, and SSD, which others are priced as.
STANDARD_DISK, _SSD = "pd-standard", "pd-ssd"
#: Bytes of a stored prediction without features: 104 with keys of 4 bytes.
ROW_BYTES = 120
#: Mean size of an image of ImageNet.
_IMAGE_BYTES = 110_000
_NOT_COUNTED = (
    "not counted: workers starting and waiting for the last shard (minutes each), "
    "stages run again, selection, writing and blending, shuffles, the bucket's storage "
    "and requests"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pool:
    """Virtual machines: their type and maximum number, and what each has.

    `disk_type` is Compute Engine's name of the type, such as `pd-ssd`, `is_flexible`
    whether they are scheduled when they are cheap (FlexRS).
    """

    machine: str
    workers: int
    disk_gb: int
    disk_type: str = STANDARD_DISK
    accelerator: str | None = None
    is_flexible: bool = False

    @property
    def worker(self) -> str:
        """Description of a worker."""
        with_accelerator = f" with {self.accelerator}" if self.accelerator else ""
        return f"{self.machine}{with_accelerator}"


@dataclasses.dataclass(frozen=True)
class Machine:
    """The billed resources of a machine type."""

    vcpus: int
    memory_gb: float


@dataclasses.dataclass(frozen=True)
class AcceleratorPrice:
    """The price of an accelerator.

    Attributes:
        hour: Price of one accelerator per hour.
        confirmed: Whether it is Dataflow's price; otherwise it is Compute Engine's.
    """

    hour: float
    confirmed: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prices:
    """Prices per hour of batch jobs in a cloud region.

    Attributes:
        disk_gb_hour: Price of a gigabyte of a standard disk.
        ssd_gb_hour: Price of a gigabyte of an SSD disk.
        flexible_share: Price of vCPUs and memory of FlexRS, as a share of the full one.
        egress_gb: Price of a gigabyte that leaves the cloud for the internet.
        accelerators: Prices by the values of `--accelerator`.
        machines: Resources by machine type.
    """

    date: str
    region: str
    currency: str
    source: str
    vcpu_hour: float
    memory_gb_hour: float
    disk_gb_hour: float
    ssd_gb_hour: float
    flexible_share: float
    egress_gb: float
    accelerators: Mapping[str, AcceleratorPrice]
    machines: Mapping[str, Machine]

    def machine(self, name: str) -> Machine:
        """Returns the resources of a machine type."""
        return _find("machine_type", name, self.machines)

    def accelerator(self, name: str) -> AcceleratorPrice:
        """Returns the price of an accelerator."""
        return _find("accelerator", name, self.accelerators)


def _read_prices() -> Prices:
    file = importlib.resources.files(__package__) / _PRICES_FILE
    table = json.loads(file.read_text())
    for column, kind in (("accelerators", AcceleratorPrice), ("machines", Machine)):
        table[column] = {name: kind(**row) for name, row in table[column].items()}
    return Prices(**table)


PRICES = _read_prices()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resources:
    """What workers have, or have used, times hours; `disk` is standard disks."""

    vcpu_hours: float
    memory_gb_hours: float
    disk_gb_hours: float
    ssd_gb_hours: float = 0.0
    accelerator_hours: float = 0.0


def costs_of(resources: Resources, pool: Pool) -> dict[str, float]:
    """Returns the costs of resources, by kind, on workers of a pool."""
    share = PRICES.flexible_share if pool.is_flexible else 1.0
    costs = {
        "vCPUs": resources.vcpu_hours * PRICES.vcpu_hour * share,
        "memory": resources.memory_gb_hours * PRICES.memory_gb_hour * share,
    }
    if pool.accelerator:
        hour = PRICES.accelerator(pool.accelerator).hour
        costs["accelerators"] = resources.accelerator_hours * hour
    disks = resources.disk_gb_hours * PRICES.disk_gb_hour
    return {**costs, "disks": disks + resources.ssd_gb_hours * PRICES.ssd_gb_hour}


def hourly_costs(pool: Pool) -> dict[str, float]:
    """Returns the costs of one worker per hour, by resource."""
    machine = PRICES.machine(pool.machine)
    is_standard = pool.disk_type == STANDARD_DISK
    worker = Resources(
        vcpu_hours=machine.vcpus,
        memory_gb_hours=machine.memory_gb,
        disk_gb_hours=pool.disk_gb if is_standard else 0.0,
        ssd_gb_hours=0.0 if is_standard else pool.disk_gb,
        accelerator_hours=1.0,
    )
    return costs_of(worker, pool)


def rate_of_worker(measured: float, *, pool: Pool) -> float:
    """Returns the images per second of one worker.

    A vCPU counts as a core, although on most machines it is half of one: measure on
    the pool's machine type. `measured` is the images per second of one core or, with an
    accelerator, of one worker.
    """
    if pool.accelerator:
        return measured
    return measured * PRICES.machine(pool.machine).vcpus


@dataclasses.dataclass(frozen=True, kw_only=True)
class CostEstimate:
    """Estimated time and cost of a job whose workers are busy from start to end.

    Attributes:
        num_images: Images to label.
        images_per_second: Rate of one worker, a whole virtual machine.
        pool: The workers.
    """

    num_images: int
    images_per_second: float
    pool: Pool

    def __post_init__(self) -> None:
        for name, number in (
            ("images", self.num_images),
            ("images a second", self.images_per_second),
            ("workers", self.pool.workers),
        ):
            check(
                math.isfinite(number) and number > 0,
                f"expected a positive number of {name}, got {number}",
            )

    @property
    def worker_hours(self) -> float:
        """Hours of all workers together."""
        return self.num_images / self.images_per_second / 3600

    @property
    def hours(self) -> float:
        """Hours from start to end."""
        return self.worker_hours / self.pool.workers

    @property
    def costs(self) -> dict[str, float]:
        """Costs by resource."""
        hourly = hourly_costs(self.pool)
        return {item: self.worker_hours * price for item, price in hourly.items()}

    @property
    def total(self) -> float:
        """Sum of all costs."""
        return math.fsum(self.costs.values())


def describe(
    estimate: CostEstimate, *, embeddings: bool = False, blended: bool = False
) -> list[str]:
    """Returns an estimate as lines for the user.

    Args:
        estimate: The estimate.
        embeddings: Whether features are stored with the predictions.
        blended: Whether the predictions are blended by another job.
    """
    pool = estimate.pool
    lines = [
        f"{estimate.num_images:,} images, {estimate.images_per_second:,.1f} a second "
        f"by each {pool.worker}",
        f"{estimate.worker_hours:>14,.1f}  worker-hours",
        f"{estimate.hours:>14,.1f}  hours with {pool.workers:,} workers",
    ]
    costs = [*estimate.costs.items(), ("in all", estimate.total)]
    lines += [f"{cost:>14,.2f}  {PRICES.currency}  {item}" for item, cost in costs]
    lines += [f"prices of {PRICES.date} for {PRICES.region}; {PRICES.source}"]
    unconfirmed = ["data that leaves the cloud"]
    if pool.is_flexible:
        unconfirmed += ["FlexRS"]
    if pool.accelerator and not PRICES.accelerator(pool.accelerator).confirmed:
        unconfirmed += [pool.accelerator]
    if pool.disk_type not in (STANDARD_DISK, _SSD):
        unconfirmed += [f"{pool.disk_type}, here that of {_SSD}"]
    return [
        *lines,
        f"NOT CONFIRMED: the price of {' and of '.join(unconfirmed)}",
        _describe_predictions(estimate.num_images, embeddings, blended),
        f"a million selected images of {_IMAGE_BYTES // 1000} kB: "
        f"{_describe_transfer(10**6 * _IMAGE_BYTES)}",
        "all images, if a stage reads them outside of the cloud: "
        f"{_describe_transfer(estimate.num_images * _IMAGE_BYTES)}",
        _NOT_COUNTED,
    ]


def _describe_predictions(num_images: int, embeddings: bool, blended: bool) -> str:
    """Returns a line about predictions that leave the cloud for this machine."""
    times = 2 if blended else 1
    line = "predictions that leave the cloud"
    if blended:
        line += ", before and after blending"
    line += f": {_describe_transfer(times * num_images * ROW_BYTES)}"
    if embeddings:
        line += (
            ", and two bytes for each stored feature (labeling.neighbors=0 stores none)"
        )
    return line


def _describe_transfer(num_bytes: float) -> str:
    gigabytes = num_bytes / 1e9
    return f"{gigabytes:,.1f} GB, {gigabytes * PRICES.egress_gb:,.2f} {PRICES.currency}"


def _find(what: str, name: str, rows: Mapping[str, Any]) -> Any:
    if name not in rows:
        raise ValueError(
            f"expected {what} as one of {', '.join(rows)}, got {name!r}: "
            f"add it to beam_jobs/runners/{_PRICES_FILE}"
        )
    return rows[name]
