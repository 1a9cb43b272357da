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

PRICES = "prices.json"
_NOT_COUNTED = (
    "not counted: workers starting and waiting for the last shard (minutes each), "
    "stages run again, the bucket's storage and requests"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pool:
    """Virtual machines: their type and maximum number, and what each has."""

    machine: str
    workers: int
    disk_gb: int
    accelerator: str | None = None


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
        instead_of_machine: Whether the price includes vCPUs and memory.
    """

    hour: float
    confirmed: bool
    instead_of_machine: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prices:
    """Prices per hour of batch jobs in a cloud region.

    Attributes:
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
    accelerators: Mapping[str, AcceleratorPrice]
    machines: Mapping[str, Machine]

    @classmethod
    def read(cls) -> Prices:
        """Returns the table next to this module."""
        file = importlib.resources.files(__package__) / PRICES
        table = json.loads(file.read_text())
        for column, kind in (("accelerators", AcceleratorPrice), ("machines", Machine)):
            table[column] = {name: kind(**row) for name, row in table[column].items()}
        return cls(**table)

    def machine(self, name: str) -> Machine:
        """Returns the resources of a machine type."""
        return _find("machine_type", name, self.machines)

    def accelerator(self, name: str) -> AcceleratorPrice:
        """Returns the price of an accelerator."""
        return _find("accelerator", name, self.accelerators)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CostEstimate:
    """Estimated time and cost of a job.

    Attributes:
        num_images: Images to label.
        images_per_second: Rate of one worker, a whole virtual machine.
        pool: The workers.
        worker_hours: Hours of all workers together.
        hours: Hours from start to end, with all workers busy.
        costs: Costs by resource.
        prices: Prices of the resources.
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
        """Sum of all costs."""
        return math.fsum(self.costs.values())


def rate_of_worker(measured: float, *, pool: Pool, prices: Prices) -> float:
    """Returns the images per second of one worker.

    A vCPU counts as a core, although on most machines it is half of one: measure on
    the pool's machine type. `measured` is the images per second of one core or, with an
    accelerator, of one worker.
    """
    if pool.accelerator:
        return measured
    return measured * prices.machine(pool.machine).vcpus


def estimate(
    num_images: int, *, images_per_second: float, pool: Pool, prices: Prices
) -> CostEstimate:
    """Returns the estimated time and cost of labeling, see `CostEstimate`."""
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
    """Returns an estimate as lines for the user."""
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
