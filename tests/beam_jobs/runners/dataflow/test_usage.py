import contextlib
import math
from datetime import UTC, datetime

import pytest

from beam_jobs.runners.dataflow import bill, usage
from tests.beam_jobs.runners.dataflow.service import Service

#: Names, units and magnitudes as the service gives them.
METRICS = {
    "CurrentVcpuCount": 40,
    "TotalVcpuTime": 3_237_830,
    "TotalMemoryUsage": 21_550_998_323,
    "TotalPdUsage": 80_945_756,
    "TotalSsdUsage": 0,
    "TotalShuffleDataProcessed": 6.41e-05,
    "BillableShuffleDataProcessed": 1.6e-05,
    "TotalGpuTime": 7_200,
}


def read_usage(result):
    return usage.read_usage(result._runner.dataflow_client, result._job)


def test_the_figures_of_a_job_are_read_and_logged(submit):
    with Service(["RUNNING", "DONE"], metrics=METRICS) as service:
        lines = submit(service)
        found = read_usage(submit.result)
    assert found == usage.JobUsage(
        vcpu_seconds=3_237_830,
        memory_mb_seconds=21_550_998_323,
        pd_gb_seconds=80_945_756,
        ssd_gb_seconds=0,
        shuffle_gb=6.41e-05,
        billed_shuffle_gb=1.6e-05,
        gpu_seconds=7_200,
        started=datetime(2026, 11, 22, 13, 5, 9, tzinfo=UTC),
        ended=datetime(2026, 11, 22, 14, 6, 10, tzinfo=UTC),
    )
    assert lines[-1] == f"birds {found}"
    assert str(found) == (
        "used 899.4 vCPU-hours, 5,846.1 GB-hours of memory, 22,484.9 GB-hours of disk, "
        "2.0 GPU-hours, 0.000 GB of shuffle in 1:01:01"
    )


def test_ssd_disks_are_no_standard_ones(submit):
    metrics = {"TotalVcpuTime": 3600, "TotalPdUsage": 7200, "TotalSsdUsage": 36_000}
    with Service(metrics=metrics) as service:
        submit(service)
        found = read_usage(submit.result)
    assert found.resources.disk_gb_hours == 2.0
    assert found.resources.ssd_gb_hours == 10.0
    assert "2.0 GB-hours of disk, 10.0 GB-hours of SSD" in str(found)


@pytest.mark.parametrize("state", ["DONE", "FAILED"])
def test_the_figures_of_a_job_make_its_bill(submit, state):
    with Service(["RUNNING", state], metrics={"TotalVcpuTime": 36_000}) as service:
        with contextlib.suppress(RuntimeError):
            submit(service)
        assert len(service.jobs) == 1
    found = bill.read_bill(submit.output)
    assert found.total == pytest.approx(10 * 0.056)
    assert found.jobs["job-1"].state == state.lower()
    assert found.jobs["job-1"].pool.worker == "n2-standard-4"


@pytest.mark.parametrize("state", ["DONE", "FAILED"])
def test_a_bill_that_cannot_be_read_does_not_hide_how_a_job_has_ended(submit, state):
    (submit.output / bill.BILL).write_text("[]")
    ended = (
        pytest.raises(RuntimeError, match="birds failed: no GPU")
        if state == "FAILED"
        else contextlib.nullcontext()
    )
    job = {"metrics": METRICS, "errors": ("no GPU",)}
    with Service(["RUNNING", state], **job) as service, ended:
        submit(service)
    assert submit.lines[-1].startswith("warning: ")
    assert bill.BILL in submit.lines[-1]


def test_a_job_without_figures_has_no_usage(submit):
    with Service() as service:
        submit(service)
        assert read_usage(submit.result) is None
    found = bill.read_bill(submit.output)
    assert found.num_unknown == 1
    assert "1 not counted" in str(found)


def test_a_job_whose_figures_cannot_be_read_has_no_usage(submit, caplog):
    with Service(metrics=METRICS) as service:
        service.fail("GET", "/job-1/metrics", 403, "no", times=9)
        lines = submit(service)
        assert read_usage(submit.result) is None
    assert "used" not in lines[-1]
    assert "HTTP" not in caplog.text


@pytest.mark.parametrize("figure", [-5, math.nan, math.inf, True])
def test_a_figure_that_is_no_amount_is_none(submit, figure):
    metrics = {"TotalVcpuTime": 3600, "TotalPdUsage": figure}
    with Service(metrics=metrics) as service:
        submit(service)
        found = read_usage(submit.result)
    assert found.pd_gb_seconds == 0
    assert found.vcpu_seconds == 3600


def test_figures_that_the_service_leaves_out_are_zero(submit):
    with Service(metrics={"TotalVcpuTime": 3600}) as service:
        submit(service)
        found = read_usage(submit.result)
    assert (found.vcpu_seconds, found.gpu_seconds) == (3600, 0)
    assert "GPU" not in str(found)
