"""What labeling on Dataflow will take: hours of workers, and money.

The rate is one that was measured, the prices are those of `prices.json`, which tells
their date and where they are from.
"""

from __future__ import annotations

import dataclasses
import importlib.resources
import json
import math
from collections.abc import Mapping
from typing import Any

PRICES = "prices.json"
_NOT_COUNTED = (
    "not counted: workers starting and waiting for the last shard (minutes each), "
    "stages run again, the bucket's storage and requests"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pool:
    """The workers of a job.

    Attributes:
        machine: Type of the virtual machine that is one worker.
        workers: How many at most.
        disk_gb: Size of the disk of each.
        accelerator: Name of the one that each has, if any.
    """

    machine: str
    workers: int
    disk_gb: int
    accelerator: str | None = None


@dataclasses.dataclass(frozen=True)
class Machine:
    """A type of machine, as it is billed."""

    vcpus: int
    memory_gb: float


@dataclasses.dataclass(frozen=True)
class AcceleratorPrice:
    """The price of an accelerator.

    Attributes:
        hour: Of one accelerator.
        confirmed: Whether the table's source has it; else it is Compute Engine's list
            price, from another source.
        instead_of_machine: Whether vCPUs and memory are not billed beside it.
    """

    hour: float
    confirmed: bool
    instead_of_machine: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prices:
    """A table of prices and what is to be known of it.

    Attributes:
        date: When the prices were looked up.
        region: Where they hold.
        currency: That of all prices.
        source: Where they are from.
        vcpu_hour: Of one vCPU of a batch job, whatever the machine.
        memory_gb_hour: Likewise, of memory.
        disk_gb_hour: Likewise, of a standard disk.
        accelerators: By the names that `--accelerator` takes.
        machines: By type.
    """

    date: str
    region: str
    currency: str
    source: str
    vcpu_hour: float
    memory_gb_hour: float
    disk_gb_hour: float
    accelerators: Mapping[str, AcceleratorPrice]
    machines: Mapping[str, Machine]

    @classmethod
    def read(cls) -> Prices:
        """Returns the table that lies beside this module."""
        file = importlib.resources.files(__package__) / PRICES
        table = json.loads(file.read_text())
        for column, kind in (("accelerators", AcceleratorPrice), ("machines", Machine)):
            table[column] = {name: kind(**row) for name, row in table[column].items()}
        return cls(**table)

    def machine(self, name: str) -> Machine:
        """Returns a type of machine.

        Raises:
            ValueError: If the table does not have it.
        """
        return _find("machine_type", name, self.machines)

    def accelerator(self, name: str) -> AcceleratorPrice:
        """Returns the price of an accelerator.

        Raises:
            ValueError: If the table does not have it.
        """
        return _find("accelerator", name, self.accelerators)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CostEstimate:
    """What a job will take.

    Attributes:
        num_images: Images to label.
        images_per_second: Of one worker.
        pool: The workers.
        worker_hours: Of all workers together.
        hours: From start to end, with all workers at work.
        costs: Money by what it is paid for.
        prices: What the costs were reckoned with.
    """

    num_images: int
    images_per_second: float
    pool: Pool
    worker_hours: float
    hours: float
    costs: Mapping[str, float]
    prices: Prices

    @property
    def total(self) -> float:
        """All costs."""
        return math.fsum(self.costs.values())


def rate_of_worker(measured: float, *, pool: Pool, prices: Prices) -> float:
    """Returns the images a second of one worker.

    Args:
        measured: Images a second of one core or, if workers have an accelerator, of
            one worker. A vCPU is taken for a core, which is half of one on most
            machines: a rate measured on the machines of the pool is the better one.
        pool: The workers.
        prices: The table that knows the machine.

    Raises:
        ValueError: If the table has no such machine.
    """
    if pool.accelerator:
        return measured
    return measured * prices.machine(pool.machine).vcpus


def estimate(
    num_images: int, *, images_per_second: float, pool: Pool, prices: Prices
) -> CostEstimate:
    """Returns what labeling will take.

    Args:
        num_images: Images to label.
        images_per_second: Of one worker: all of a virtual machine, its accelerator
            included.
        pool: The workers.
        prices: What they cost.

    Raises:
        ValueError: If a number is not positive, or the table has no such machine or
            accelerator.
    """
    positive = {
        "images": num_images,
        "images a second": images_per_second,
        "workers": pool.workers,
    }
    for name, number in positive.items():
        if not (math.isfinite(number) and number > 0):
            raise ValueError(f"expected a positive number of {name}, got {number}")
    worker_hours = num_images / images_per_second / 3600
    hourly = _hourly_costs(pool, prices)
    return CostEstimate(
        num_images=num_images,
        images_per_second=images_per_second,
        pool=pool,
        worker_hours=worker_hours,
        hours=worker_hours / pool.workers,
        costs={item: worker_hours * price for item, price in hourly.items()},
        prices=prices,
    )


def describe(estimate: CostEstimate) -> list[str]:
    """Returns the lines that tell an estimate to people."""
    pool, prices = estimate.pool, estimate.prices
    worker = pool.machine + (f" with {pool.accelerator}" if pool.accelerator else "")
    lines = [
        f"{estimate.num_images:,} images, {estimate.images_per_second:,.1f} a second "
        f"by each {worker}",
        f"{estimate.worker_hours:>14,.1f}  worker-hours",
        f"{estimate.hours:>14,.1f}  hours with {pool.workers:,} workers",
    ]
    costs = [*estimate.costs.items(), ("in all", estimate.total)]
    lines += [f"{cost:>14,.2f}  {prices.currency}  {item}" for item, cost in costs]
    lines += [f"prices of {prices.date} for {prices.region}; {prices.source}"]
    if pool.accelerator and not prices.accelerator(pool.accelerator).confirmed:
        lines += [
            f"NOT CONFIRMED: the price of {pool.accelerator} is Compute Engine's, "
            "Dataflow's was not found"
        ]
    return [*lines, _NOT_COUNTED]


def _hourly_costs(pool: Pool, prices: Prices) -> dict[str, float]:
    machine = prices.machine(pool.machine)
    costs = {
        "vCPUs": machine.vcpus * prices.vcpu_hour,
        "memory": machine.memory_gb * prices.memory_gb_hour,
    }
    if pool.accelerator:
        accelerator = prices.accelerator(pool.accelerator)
        if accelerator.instead_of_machine:
            costs = {}
        costs["accelerators"] = accelerator.hour
    return costs | {"disks": pool.disk_gb * prices.disk_gb_hour}


def _find(what: str, name: str, rows: Mapping[str, Any]) -> Any:
    if name not in rows:
        raise ValueError(
            f"expected {what} as one of {', '.join(rows)}, got {name!r}: "
            f"add it to {PRICES}"
        )
    return rows[name]
