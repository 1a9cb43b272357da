"""What a job has used, in the figures that Dataflow bills by."""

from __future__ import annotations

import dataclasses
import math
from datetime import datetime
from typing import Any

from beam_jobs.runners.cost import Resources
from beam_jobs.runners.dataflow import api

#: Origin of the service's own metrics.
_ORIGIN = "dataflow/v1b3"


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobUsage:
    """What the service has counted for a job.

    Right after a job's end, the figures may lack its last minutes.

    Attributes:
        vcpu_seconds: vCPUs times seconds.
        memory_mb_seconds: Memory in units of 2**20 bytes, times seconds.
        pd_gb_seconds: Standard disks in GB, times seconds.
        ssd_gb_seconds: SSD disks in GB, times seconds.
        shuffle_gb: Data that went through the shuffle, in GB.
        billed_shuffle_gb: What of it is billed, in GB.
        gpu_seconds: GPUs times seconds.
        started: Time when the job was started.
        ended: Time of its last state.
    """

    vcpu_seconds: float
    memory_mb_seconds: float
    pd_gb_seconds: float
    ssd_gb_seconds: float
    shuffle_gb: float
    billed_shuffle_gb: float
    gpu_seconds: float
    started: datetime
    ended: datetime

    @property
    def resources(self) -> Resources:
        """What is billed by the hour."""
        return Resources(
            vcpu_hours=self.vcpu_seconds / 3600,
            memory_gb_hours=self.memory_mb_seconds / 1024 / 3600,
            disk_gb_hours=self.pd_gb_seconds / 3600,
            ssd_gb_hours=self.ssd_gb_seconds / 3600,
            accelerator_hours=self.gpu_seconds / 3600,
        )

    def __str__(self) -> str:
        hours = {
            "vCPU-hours": self.resources.vcpu_hours,
            "GB-hours of memory": self.resources.memory_gb_hours,
            "GB-hours of disk": self.resources.disk_gb_hours,
            "GB-hours of SSD": self.resources.ssd_gb_hours,
            "GPU-hours": self.resources.accelerator_hours,
        }
        amounts = [
            f"{value:,.1f} {unit}"
            for unit, value in hours.items()
            if value or unit not in ("GB-hours of SSD", "GPU-hours")
        ]
        if self.billed_shuffle_gb:
            amounts.append(f"{self.billed_shuffle_gb:,.3f} GB of shuffle")
        seconds = round((self.ended - self.started).total_seconds())
        minutes, seconds = divmod(seconds, 60)
        time = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
        return f"used {', '.join(amounts)} in {time}"


#: Names of the service's metrics.
_METRICS = {
    "vcpu_seconds": "TotalVcpuTime",
    "memory_mb_seconds": "TotalMemoryUsage",
    "pd_gb_seconds": "TotalPdUsage",
    "ssd_gb_seconds": "TotalSsdUsage",
    "shuffle_gb": "TotalShuffleDataProcessed",
    "billed_shuffle_gb": "BillableShuffleDataProcessed",
    "gpu_seconds": "TotalGpuTime",
}


def read_usage(client: Any, job: Any) -> JobUsage | None:
    """Returns what a job that has ended has used; None if the service does not say.

    `client` is Beam's, `job` of the service's API.
    """
    try:
        # Not Beam's `all_metrics`, which fails if a figure is not there twice.
        with api.without_log():
            metrics = client.get_job_metrics(job.id).metrics
    except Exception:  # The job itself has ended, whatever the reason is.
        return None
    found = {
        metric.name.name: metric.scalar
        for metric in metrics
        if metric.name.origin == _ORIGIN
        and metric.name.context.get("tentative") != "true"
        and _is_amount(metric.scalar)
    }
    if _METRICS["vcpu_seconds"] not in found:
        return None
    return JobUsage(
        **{field: found.get(name, 0.0) for field, name in _METRICS.items()},
        started=job.start_time or job.create_time,
        ended=job.current_state_time,
    )


def _is_amount(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and value >= 0
