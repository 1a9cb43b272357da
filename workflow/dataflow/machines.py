"""Machines and accelerators in the region, and the quota for them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

from beam_jobs.runners.cost import PRICES
from workflow.dataflow.findings import Answer, Answers, Finding, setting, unseen
from workflow.dataflow.target import Target

#: Families whose vCPUs count in CPUS. Others have a quota of their own, if any.
_IN_GENERAL_QUOTA = ("n1", "e2", "f1", "g1")
_PREEMPTIBLE = "PREEMPTIBLE_CPUS"
#: Such as custom-4-8192, which is n1's, and n2-custom-8-131072-ext.
_CUSTOM = re.compile(r"(?:\w+-)?custom-(\d+)-\d+(?:-ext)?")


@dataclasses.dataclass(frozen=True)
class QuotaNeed:
    """What the largest number of workers takes of a quota.

    Attributes:
        metric: Compute Engine's name of the quota.
        each: What one worker takes.
        is_certain: Whether it does.
    """

    metric: str
    each: int
    is_certain: bool = True


def offered(target: Target, answers: Answers) -> Iterator[Finding]:
    """Looks for zones of the region that have machine and accelerator."""
    pool = target.pool
    if _CUSTOM.fullmatch(pool.machine):
        yield Finding("?", pool.machine, "gcloud does not list custom machine types")
        return
    kinds = {"machine_types": pool.machine}
    if pool.accelerator:
        kinds["accelerator_types"] = pool.accelerator
    names = " with ".join(kinds.values())
    for kind in kinds:
        if answers[kind].reason:
            yield unseen(f"{names} in {target.region}", answers[kind])
            return
    zones = set.intersection(*(_zones(answers[kind]) for kind in kinds))
    here = sorted(zone for zone in zones if _region(zone) == target.region)
    if here:
        yield Finding("ok", names, f"in {', '.join(here)}")
        return
    regions = sorted({_region(zone) for zone in zones})
    detail = f"not in {target.region}; in {', '.join(regions) or 'no region'}"
    command = f"gcloud compute machine-types list --project={target.project}"
    listed = f"{command} --filter=zone:{target.region}"
    remedy = f"{listed}, and name one: runner.dataflow.machine="
    if regions:
        near = min(regions, key=lambda name: _area(name) != _area(target.region))
        remedy = f"{setting('region', near)}, with a bucket there"
    yield Finding("FAIL", names, detail, remedy)


def quotas(target: Target, answers: Answers) -> Iterator[Finding]:
    """Compares the quotas with what the largest number of workers takes."""
    vcpus = _vcpus(target, answers)
    if vcpus is None:
        yield Finding("?", "quota of vCPUs", f"{target.pool.machine} is not known")
    for place, needs in (
        ("region", _in_region(target, vcpus or 0)),
        ("all_regions", _in_all_regions(target, vcpus or 0)),
    ):
        answer = answers[place]
        if answer.reason:
            yield unseen(f"quotas of {place.replace('_', ' ')}", answer)
            continue
        for need in needs:
            if need.each:
                yield _compare(need, target, answer)


def _in_region(target: Target, vcpus: int) -> Iterator[QuotaNeed]:
    pool = target.pool
    family = pool.machine.partition("-")[0]
    own = family not in _IN_GENERAL_QUOTA
    if own:
        yield QuotaNeed(f"{family.upper()}_CPUS", vcpus)
    # Google does not say whether families with a quota of their own count here too.
    yield QuotaNeed("CPUS", vcpus, is_certain=not own)
    if pool.is_flexible:  # FlexRS takes preemptible machines too.
        yield QuotaNeed(_PREEMPTIBLE, vcpus)
    yield QuotaNeed("INSTANCES", 1)
    disks = "SSD_TOTAL_GB" if target.uses_ssd else "DISKS_TOTAL_GB"
    yield QuotaNeed(disks, pool.disk_gb)
    if pool.accelerator:
        kind = pool.accelerator.replace("-tesla-", "-").replace("-", "_")
        yield QuotaNeed(f"{kind.upper()}_GPUS", 1)


def _in_all_regions(target: Target, vcpus: int) -> Iterator[QuotaNeed]:
    yield QuotaNeed("CPUS_ALL_REGIONS", vcpus)
    if target.pool.accelerator:
        yield QuotaNeed("GPUS_ALL_REGIONS", 1)


def _compare(need: QuotaNeed, target: Target, answer: Answer) -> Finding:
    subject = f"quota {need.metric}"
    listed = {quota["metric"]: quota for quota in answer.value["quotas"]}
    quota = listed.get(need.metric)
    page = f"https://console.cloud.google.com/iam-admin/quotas?project={target.project}"
    if quota is None:
        return Finding("?", subject, f"gcloud does not list it, see {page}")
    if need.metric == _PREEMPTIBLE and not quota["limit"]:
        # Compute Engine then lets preemptible machines take of the regular quota.
        return Finding("?", subject, "none, so that the regular quota may count")
    free = quota["limit"] - quota["usage"]
    needed = need.each * target.pool.workers
    detail = f"{needed:,} needed, {free:,.0f} of {quota['limit']:,.0f} free"
    if needed <= free:
        return Finding("ok", subject, detail)
    fits = int(max(0, free) // need.each)
    more = f"ask for more on {page}"
    remedy = f"{setting('max_workers', fits)}, or {more}" if fits else more
    if not need.is_certain:
        return Finding("?", subject, f"{detail}, if these machines count here")
    return Finding("FAIL", subject, detail, remedy)


def _vcpus(target: Target, answers: Answers) -> int | None:
    """Returns the vCPUs of a worker; None if nothing tells."""
    if custom := _CUSTOM.fullmatch(target.pool.machine):
        return int(custom[1])
    listed = answers["machine_types"].value
    if listed:
        return int(listed[0]["guestCpus"])
    machine = PRICES.machines.get(target.pool.machine)
    return machine.vcpus if machine else None


def _zones(answer: Answer) -> set[str]:
    """Returns the zones of a list; their names may be the end of an address."""
    return {each["zone"].rpartition("/")[2] for each in answer.value}


def _area(region: str) -> str:
    """Returns a part of the world, such as europe."""
    return region.partition("-")[0]


def _region(zone: str) -> str:
    return zone.rpartition("-")[0]
