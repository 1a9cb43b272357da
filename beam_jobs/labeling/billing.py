"""What labeling on Dataflow costs: estimated before, and billed afterwards."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from etils import epath

from beam_jobs.runners import cost
from beam_jobs.runners import run as runners
from beam_jobs.runners.cost import CostEstimate
from beam_jobs.runners.dataflow import bill, job_options
from beam_jobs.runners.dataflow.bill import Bill
from beam_jobs.runners.options import is_dataflow
from pseudo_label.predictions.prediction_set import SUMMARY
from stage import typed_json
from stage.cli import Log


@dataclasses.dataclass(frozen=True)
class _Summary:
    images: typed_json.Count


def describe_estimate(
    options: PipelineOptions,
    *,
    num_images: int,
    rate: float | None,
    embeddings: bool = False,
    blended: bool = False,
) -> Iterator[str]:
    """Yields an estimate as lines for the user.

    Args:
        options: Complete options of Beam.
        num_images: Images to label.
        rate: Images per second of a core or, with an accelerator, of a worker.
        embeddings: Whether features are stored with the predictions.
        blended: Whether the predictions are blended by another job.
    """
    if not is_dataflow(options) or rate is None:
        raise ValueError(
            "--estimate needs --images_per_second and, behind --, Dataflow's options"
        )
    estimate = _estimate(options, num_images, rate)
    yield from cost.describe(estimate, embeddings=embeddings, blended=blended)
    region = options.view_as(GoogleCloudOptions).region
    if region != cost.PRICES.region:
        yield f"NOT CONFIRMED: that {region} has the prices of {cost.PRICES.region}"
    limit = job_options.max_hours(options)
    if estimate.hours > limit:
        yield (
            f"longer than --max_hours={limit:g} (make: MAX_HOURS=), after which "
            "Dataflow ends the job, and the same command resumes it"
        )


def check_rate(options: PipelineOptions, rate: float | None) -> None:
    """Raises ValueError if an expected rate, if any, cannot be compared afterwards."""
    if rate is not None:
        _ = _estimate(options, 1, rate).total


def log_end(
    summary: str,
    output: str,
    options: PipelineOptions,
    *,
    rate: float | None,
    log: Log,
) -> None:
    """Logs the summary of an output that is made, and what its jobs have cost.

    With an expected `rate`, the estimate is stored in the bill.
    """
    describe = functools.partial(_describe_bill, output, options, rate)
    runners.log_end([summary], output, options, log=log, describe=describe)


def _describe_bill(
    output: str, options: PipelineOptions, rate: float | None, found: Bill
) -> str:
    summary = typed_json.read(epath.Path(output) / SUMMARY, _Summary)
    if rate is not None:
        estimate = _estimate(options, summary.images, rate)
        found = bill.add_estimate(output, estimate)
    line = str(found)
    vcpu_seconds = 3600 * sum(
        job.resources.vcpu_hours for job in found.jobs.values() if job.resources
    )
    is_known = vcpu_seconds and not found.num_unknown
    if is_known and not job_options.pool(options).accelerator:
        each = summary.images / vcpu_seconds
        line += (
            f"; {each:.3g} images per second and vCPU, with the workers' starts "
            "(make estimate: RATE=)"
        )
    return line


def _estimate(options: PipelineOptions, num_images: int, rate: float) -> CostEstimate:
    pool = job_options.pool(options)
    return CostEstimate(
        num_images=num_images,
        images_per_second=cost.rate_of_worker(rate, pool=pool),
        pool=pool,
    )
