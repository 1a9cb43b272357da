import dataclasses
import json

import pytest

from beam_jobs.runners.cost import CostEstimate, Pool, Resources
from beam_jobs.runners.dataflow import bill

POOL = Pool(machine="n2-standard-4", workers=10, disk_gb=50)
USED = Resources(vcpu_hours=40.0, memory_gb_hours=160.0, disk_gb_hours=500.0)
COST = 40 * 0.056 + 160 * 0.003557 + 500 * 0.000054


def add(output, job="job-1", state="DONE", pool=POOL):
    return bill.add_job(output, job, state=state, resources=USED, pool=pool)


def test_an_output_without_jobs_has_no_bill(tmp_path):
    assert bill.read_bill(tmp_path) is None


def test_the_bill_is_that_of_all_jobs(tmp_path):
    add(tmp_path, state="FAILED")
    second = add(tmp_path, "job-2")
    assert bill.read_bill(tmp_path) == second
    assert second.total == pytest.approx(2 * COST)
    assert "for 2 jobs" in str(second)


def test_a_job_that_was_waited_for_twice_is_billed_once(tmp_path):
    add(tmp_path)
    assert add(tmp_path).total == pytest.approx(COST)


def test_a_job_keeps_the_pool_of_the_command_that_has_started_it(tmp_path):
    bill.add_job(tmp_path, "job-1", state="running", resources=None, pool=POOL)
    flexible = dataclasses.replace(POOL, is_flexible=True)
    found = add(tmp_path, pool=flexible)
    assert found.jobs["job-1"].pool == POOL
    assert found.total == pytest.approx(COST)


def test_the_estimate_stands_beside_the_cost(tmp_path):
    add(tmp_path)
    estimate = CostEstimate(num_images=360_000, images_per_second=1.0, pool=POOL)
    bill.add_estimate(tmp_path, estimate)
    found = bill.read_bill(tmp_path)
    assert found.estimated == pytest.approx(estimate.total)
    assert str(found) == (
        f"{COST:,.2f} USD by the prices of {found.prices}; estimated were "
        f"{estimate.total:,.2f}"
    )


def test_flexible_workers_and_accelerators_have_their_prices(tmp_path):
    flexible = Pool(machine="m9-huge", workers=1, disk_gb=50, is_flexible=True)
    costs = add(tmp_path, pool=flexible).jobs["job-1"].costs
    assert costs["vCPUs"] == pytest.approx(0.6 * 40 * 0.056)
    unknown = Pool(machine="g2-standard-8", workers=1, disk_gb=50, accelerator="abacus")
    assert add(tmp_path, "job-2", pool=unknown).jobs["job-2"].costs == {}


def test_ssd_disks_have_their_own_price(tmp_path):
    used = Resources(
        vcpu_hours=0.0, memory_gb_hours=0.0, disk_gb_hours=10.0, ssd_gb_hours=500.0
    )
    found = bill.add_job(tmp_path, "job-1", state="DONE", resources=used, pool=POOL)
    assert found.total == pytest.approx(10 * 0.000054 + 500 * 0.000298)
    assert bill.read_bill(tmp_path) == found


def test_a_bill_of_an_earlier_version_had_one_kind_of_disks(tmp_path):
    before = add(tmp_path)
    content = json.loads((tmp_path / bill.BILL).read_text())
    del content["jobs"]["job-1"]["resources"]["ssd_gb_hours"]
    (tmp_path / bill.BILL).write_text(json.dumps(content))
    assert bill.read_bill(tmp_path) == before


def test_a_bill_of_an_earlier_version_had_no_pool(tmp_path):
    before = add(tmp_path)
    content = json.loads((tmp_path / bill.BILL).read_text())
    del content["jobs"]["job-1"]["pool"]
    content["jobs"]["job-1"]["workers"] = "e2-standard-4"
    (tmp_path / bill.BILL).write_text(json.dumps(content))
    found = bill.read_bill(tmp_path)
    assert str(found) == str(before)
    assert found.jobs["job-1"].pool is None
    assert add(tmp_path) == before


def test_a_broken_bill_is_one_line(tmp_path):
    add(tmp_path)
    content = json.loads((tmp_path / bill.BILL).read_text())
    content["jobs"]["job-1"]["costs"]["vCPUs"] = "much"
    (tmp_path / bill.BILL).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"bill\.json.*vCPUs"):
        bill.read_bill(tmp_path)
