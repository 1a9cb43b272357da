"""Submission to a fake of the service, with files staged to an emulator of buckets."""

import time
import types

import pytest
from apache_beam.runners.dataflow import dataflow_runner
from gcp_storage_emulator.server import create_server

from beam_jobs.runners.dataflow import submission
from tests.beam_jobs.runners.dataflow.jobs import IMAGE, filled, labeling
from tests.beam_jobs.runners.dataflow.service import Service
from tests.commands import free_port


@pytest.fixture(scope="module")
def bucket():
    port = free_port()
    server = create_server(
        "localhost", port, in_memory=True, default_bucket="my-bucket"
    )
    server.start()
    yield f"http://localhost:{port}"
    server.stop()


@pytest.fixture
def submit(bucket, monkeypatch):
    """Submits the labeling job to a service; returns the lines for the user."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", bucket)
    # Beam looks at the job every five seconds.
    hasty = types.SimpleNamespace(time=time.time, sleep=lambda _: time.sleep(0.01))
    monkeypatch.setattr(dataflow_runner, "time", hasty)

    def submit(service, *more):
        lines = []
        endpoint = f"--dataflow_endpoint={service.url}"
        found = filled("--no_auth", endpoint, "--job_name=birds", *more)
        result = submission.run(labeling, found, log=lines.append)
        assert result.metrics().query()["counters"] == []
        return lines

    return submit


PAGE = (
    "https://console.cloud.google.com/dataflow/jobs/europe-west4/job-1"
    "?project=my-project"
)


def test_a_job_is_submitted_watched_in_its_region_and_awaited(submit):
    with Service(
        ["JOB_STATE_RUNNING", "JOB_STATE_RUNNING", "JOB_STATE_DONE"]
    ) as service:
        assert submit(service) == [f"Dataflow runs birds: {PAGE}"]
        assert service.states == ["JOB_STATE_DONE"]


def test_the_service_receives_container_limits_and_accelerator(submit):
    with Service(["JOB_STATE_DONE"]) as service:
        submit(service, "--accelerator=nvidia-l4", "--no_use_public_ips")
    job = service.submitted
    environment = job["environment"]
    (workers,) = environment["workerPools"]
    assert job["name"] == "birds"
    assert job["labels"] == {"noisy-student-rs": "runs-birds-round-1-predictions"}
    assert workers["workerHarnessContainerImage"] == IMAGE
    assert [
        image["containerImage"] for image in workers["sdkHarnessContainerImages"]
    ] == [IMAGE]
    assert workers["machineType"] == "g2-standard-8"
    assert workers["diskSizeGb"] == 50
    assert workers["numThreadsPerWorker"] == 2
    assert workers["autoscalingSettings"]["maxNumWorkers"] == 10
    assert "no_use_multiple_sdk_containers" in environment["experiments"]
    assert "use_multiple_sdk_containers" not in environment["experiments"]
    assert environment["serviceOptions"] == [
        "worker_accelerator=type:nvidia-l4;count:1;install-nvidia-driver:5xx"
    ]


@pytest.mark.parametrize("state", ["FAILED", "CANCELLED"])
def test_a_failed_or_cancelled_job_is_an_error_with_its_page(submit, state):
    states = ["JOB_STATE_RUNNING", f"JOB_STATE_{state}"]
    with (
        Service(states, error="the reason of a worker") as service,
        pytest.raises(RuntimeError, match=f"State: {state}") as error,
    ):
        submit(service)
    assert PAGE in str(error.value)
    # Of a job that somebody has ended, Beam asks for no reasons.
    assert ("the reason of a worker" in str(error.value)) == (state == "FAILED")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_job_that_cannot_be_polled_is_an_error_with_its_page(submit):
    with (
        Service([]) as service,
        pytest.raises(RuntimeError) as error,
    ):
        submit(service)
    assert PAGE in str(error.value)
