import json
import pathlib

import pytest

from beam_jobs.labeling import billing
from beam_jobs.runners.cost import Resources
from beam_jobs.runners.dataflow import bill, job_options
from tests.beam_jobs.runners.dataflow.jobs import filled

USED = Resources(vcpu_hours=2.0, memory_gb_hours=0.0, disk_gb_hours=0.0)


@pytest.fixture
def output(tmp_path):
    summary = {"images": 72_000, "status": {"ok": 72_000}, "checksums": []}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    return str(tmp_path)


def add_job(output, options):
    pool = job_options.pool(options)
    bill.add_job(output, "job-1", state="DONE", resources=USED, pool=pool)


def describe_bill(output, options, *, rate):
    """Returns the last of the lines about an output."""
    lines = []
    billing.log_end("made", output, options, rate=rate, log=lines.append)
    assert lines[0] == "made"
    return lines[-1]


def test_an_output_that_was_made_here_has_no_bill(output):
    assert describe_bill(output, filled(), rate=20.0) == "made"


def test_a_bill_of_an_earlier_version_is_told(output):
    options = filled()
    add_job(output, options)
    path = pathlib.Path(output) / bill.BILL
    content = json.loads(path.read_text())
    del content["jobs"]["job-1"]["pool"]
    content["jobs"]["job-1"]["workers"] = "n2-standard-4"
    path.write_text(json.dumps(content))
    line = describe_bill(output, options, rate=20.0)
    assert line.startswith("Dataflow has billed 0.11 USD")


def test_the_bill_names_cost_estimate_and_rate(output):
    options = filled()
    add_job(output, options)
    line = describe_bill(output, options, rate=20.0)
    hours = 72_000 / 80 / 3600
    estimated = hours * (4 * 0.056 + 16 * 0.003557 + 50 * 0.000054)
    assert f"{2 * 0.056:.2f} USD" in line
    assert f"estimated were {estimated:.2f}" in line
    assert "10 images per second and vCPU" in line
    assert bill.read_bill(output).estimated == pytest.approx(estimated)


@pytest.mark.parametrize(
    ("flags", "rate", "expected"),
    [
        (("--machine_type=e2-standard-4",), 20.0, "machine_type"),
        ((), 0.0, "images a second"),
        ((), -1.0, "images a second"),
    ],
)
def test_a_rate_without_a_price_is_refused_before_any_work(flags, rate, expected):
    with pytest.raises(ValueError, match=expected):
        billing.check_rate(filled(*flags), rate)
    billing.check_rate(filled(*flags), None)
    billing.check_rate(filled(), 20.0)


def test_a_job_whose_end_nobody_saw_is_no_measurement(output):
    options = filled()
    add_job(output, options)
    bill.add_job(
        output, "job-2", state="running", resources=None, pool=job_options.pool(options)
    )
    line = describe_bill(output, options, rate=None)
    assert "1 not counted" in line
    assert "per second" not in line


def test_without_a_rate_nothing_is_estimated(output):
    options = filled()
    add_job(output, options)
    assert "estimated" not in describe_bill(output, options, rate=None)


def test_vcpus_are_not_what_a_gpu_is_measured_by(output):
    options = filled("--accelerator=nvidia-l4")
    add_job(output, options)
    assert "vCPU" not in describe_bill(output, options, rate=None)


@pytest.mark.parametrize(("images", "is_long"), [(69_120_000, False), (10**8, True)])
def test_an_estimate_beyond_the_limit_of_hours_says_so(images, is_long):
    lines = list(billing.describe_estimate(filled(), num_images=images, rate=20.0))
    assert any("longer than --max_hours=24" in line for line in lines) == is_long


@pytest.mark.parametrize(
    ("region", "said"), [("us-central1", False), ("europe-west4", True)]
)
def test_an_estimate_by_prices_of_another_region_says_so(region, said):
    options = filled(f"--region={region}")
    lines = "\n".join(billing.describe_estimate(options, num_images=1, rate=20.0))
    line = f"NOT CONFIRMED: that {region} has the prices of us-central1"
    assert (line in lines) == said
