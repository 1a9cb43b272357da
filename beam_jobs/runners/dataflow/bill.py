"""What the jobs of an output have used and cost, in `bill.json` beside it.

A stage that was interrupted or has failed may have had several jobs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math

from etils import epath

from beam_jobs.runners import cost
from beam_jobs.runners.cost import PRICES, CostEstimate, Pool, Resources
from stage import artifact, typed_json
from stage.typed_json import NonNegative

BILL = "bill.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class BilledJob:
    """A job.

    Attributes:
        state: Its last state, such as done; running if nobody has seen its end.
        resources: What it has used; None if that is not known.
        costs: Costs by resource; empty if they are not known, or without a price.
        pool: Its workers; None if an earlier version has added it.
    """

    state: str
    resources: Resources | None
    costs: dict[str, NonNegative]
    pool: Pool | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bill:
    """The jobs of an output.

    Attributes:
        currency: Currency of all costs.
        prices: Date of the prices.
        jobs: Jobs by their id.
        estimated: Cost that was expected of the finished output; None without estimate.
    """

    currency: str = PRICES.currency
    prices: str = PRICES.date
    jobs: dict[str, BilledJob] = dataclasses.field(default_factory=dict)
    estimated: NonNegative | None = None

    @property
    def total(self) -> float:
        """Sum of the costs of all jobs."""
        return math.fsum(
            amount for job in self.jobs.values() for amount in job.costs.values()
        )

    @property
    def num_unknown(self) -> int:
        """Number of jobs whose costs are not known."""
        return sum(not job.costs for job in self.jobs.values())

    def __str__(self) -> str:
        line = f"{self.total:,.2f} {self.currency} by the prices of {self.prices}"
        if len(self.jobs) > 1:
            line += f", for {len(self.jobs)} jobs"
        if self.num_unknown:
            line += f", of which {self.num_unknown} not counted: their use is unknown"
        if self.estimated is not None:
            line += f"; estimated were {self.estimated:,.2f}"
        return line


def read_bill(output: epath.PathLike) -> Bill | None:
    """Returns the bill of an output; None without any job on Dataflow."""
    path = epath.Path(output) / BILL
    return typed_json.read(path, Bill) if path.exists() else None


def add_job(
    output: epath.PathLike,
    job_id: str,
    *,
    state: str,
    resources: Resources | None,
    pool: Pool,
) -> Bill:
    """Adds a job to the bill of its output, or replaces it; returns the bill.

    A job that is there keeps the pool it has, as `pool` may be that of a command that
    has not started it.
    """
    bill = read_bill(output) or Bill()
    before = bill.jobs.get(job_id)
    if before is not None and before.pool is not None:
        pool = before.pool
    costs = {}
    if resources is not None:
        with contextlib.suppress(ValueError):  # Without a price.
            costs = cost.costs_of(resources, pool)
    job = BilledJob(state=state, resources=resources, costs=costs, pool=pool)
    return _write(output, dataclasses.replace(bill, jobs={**bill.jobs, job_id: job}))


def add_estimate(output: epath.PathLike, estimate: CostEstimate) -> Bill:
    """Adds the expected cost of an output that is finished to its bill."""
    bill = read_bill(output) or Bill()
    return _write(output, dataclasses.replace(bill, estimated=estimate.total))


def _write(output: epath.PathLike, bill: Bill) -> Bill:
    artifact.write_json(epath.Path(output) / BILL, dataclasses.asdict(bill))
    return bill
