import google.auth
import pytest
from google.auth.exceptions import DefaultCredentialsError

from beam_jobs.runners import run
from beam_jobs.runners.cost import Pool
from beam_jobs.runners.dataflow import bill
from tests.beam_jobs.runners.dataflow.jobs import filled, for_service, options
from tests.beam_jobs.runners.dataflow.service import Service

#: Of another machine than that of the options of these tests.
POOL = Pool(machine="e2-standard-4", workers=1, disk_gb=50, is_flexible=True)


@pytest.fixture
def output(tmp_path):
    """Returns an output whose job nobody saw the end of."""
    bill.add_job(tmp_path, "killed", state="running", resources=None, pool=POOL)
    return tmp_path


def end_of(output, options):
    """Returns the line about the bill; None without one."""
    lines = []
    run.log_end(["made"], output, options, log=lines.append)
    assert lines[0] == "made"
    assert len(lines) <= 2
    return lines[1] if len(lines) == 2 else None


def add(service, *states):
    job = service.add("killed", states)
    job.metrics = {"TotalVcpuTime": 36_000}


@pytest.mark.parametrize("state", ["DONE", "FAILED", "CANCELLED"])
def test_a_job_that_has_ended_meanwhile_is_billed(output, state):
    with Service() as service:
        add(service, state)
        line = end_of(output, for_service(service))
    found = bill.read_bill(output)
    assert found.jobs["killed"].state == state.lower()
    assert found.jobs["killed"].pool == POOL
    assert found.total == pytest.approx(0.6 * 10 * 0.056)
    assert line == f"Dataflow has billed {found}"
    assert "not counted" not in line


def test_a_job_that_still_runs_stays_unknown(output):
    with Service() as service:
        add(service, "RUNNING")
        line = end_of(output, for_service(service))
        assert service.requests == [("GET", "/killed")]
    assert "1 not counted" in line


def test_a_job_that_cannot_be_asked_for_stays_unknown(output):
    bill.add_job(output, "last", state="running", resources=None, pool=POOL)
    with Service() as service:
        service.add("last", ["DONE"]).metrics = {"TotalVcpuTime": 36_000}
        line = end_of(output, for_service(service))
    assert "0.34 USD" in line
    assert "1 not counted" in line


def test_without_a_login_nothing_is_asked_for(output, monkeypatch):
    def fail(**_):
        raise DefaultCredentialsError("Your default credentials were not found.")

    monkeypatch.setattr(google.auth, "default", fail)
    assert "1 not counted" in end_of(output, filled())


def test_what_is_known_is_not_asked_for(output):
    with Service() as service:
        add(service, "DONE")
        end_of(output, for_service(service))
        service.requests.clear()
        end_of(output, for_service(service))
        assert not service.requests


def test_an_output_that_was_made_here_has_no_line(tmp_path):
    assert end_of(tmp_path, options()) is None


def test_a_bill_that_cannot_be_read_is_no_reason_to_make_the_output_again(output):
    (output / bill.BILL).write_text("[]")
    line = end_of(output, options())
    assert line.startswith("warning: the bill cannot be read: ")
    assert bill.BILL in line
