"""Dataflow without a network: dry runs, and a fake of the service.

Beam's real client submits to the fake service and stages to an emulator of buckets.
"""

import http.server
import json
import re
import socket
import threading
import time
import types
from datetime import datetime

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    WorkerOptions,
)
from apache_beam.runners.dataflow import dataflow_runner
from gcp_storage_emulator.server import create_server
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs.runners import dataflow
from tests.commands import free_port

IMAGE = "europe-west4-docker.pkg.dev/my-project/repository/worker:1"
NOW = datetime(2026, 11, 22, 13, 5, 9)
NEEDED = {
    "project": "my-project",
    "region": "europe-west4",
    "temp_location": "gs://my-bucket/tmp",
    "sdk_container_image": IMAGE,
}


def options(*more, **needed):
    flags = [f"--{name}={value}" for name, value in (NEEDED | needed).items() if value]
    # Without a list of what is installed here, which takes a second each time.
    hasty = "--experiments=disable_logging_submission_environment"
    return PipelineOptions(["--runner=DataflowRunner", hasty, *flags, *more])


def filled(*more, **needed):
    found = options(*more, **needed)
    dataflow.fill_in(found, name="runs/birds/round-1/predictions", now=NOW)
    return found


def labeling(pipeline):
    """Builds a graph of the shape of the labeling job."""
    shards = pipeline | "Shards" >> beam.Create(range(3)) | beam.Reshuffle()
    return shards | "Label" >> beam.Map(lambda index: index + 1)


# --- options -------------------------------------------------------------------
def test_missing_options_are_filled_in():
    found = filled()
    workers = found.view_as(WorkerOptions)
    assert workers.machine_type == dataflow.MACHINE_TYPE
    assert workers.max_num_workers == dataflow.MAX_NUM_WORKERS
    assert workers.autoscaling_algorithm == "THROUGHPUT_BASED"
    setup = found.view_as(SetupOptions)
    assert (setup.sdk_location, setup.save_main_session) == ("container", False)
    assert found.view_as(DebugOptions).number_of_worker_harness_threads == 1
    cloud = found.view_as(GoogleCloudOptions)
    assert cloud.labels == ["noisy-student-rs=runs-birds-round-1-predictions"]
    assert cloud.job_name.startswith("runs-birds-round-1-predictions-20261122-130509-")


def test_given_options_stay():
    found = filled(
        "--job_name=mine",
        "--labels=team=birds",
        "--num_workers=30",
        "--machine_type=c3-standard-8",
        "--autoscaling_algorithm=NONE",
        "--number_of_worker_harness_threads=3",
        "--disk_size_gb=99",
        "--accelerator=nvidia-l4",
    )
    workers = found.view_as(WorkerOptions)
    assert found.view_as(GoogleCloudOptions).job_name == "mine"
    assert "team=birds" in found.view_as(GoogleCloudOptions).labels
    assert workers.max_num_workers == workers.num_workers == 30
    assert workers.machine_type == "c3-standard-8"
    assert workers.autoscaling_algorithm == "NONE"
    assert workers.disk_size_gb == 99
    assert found.view_as(DebugOptions).number_of_worker_harness_threads == 3


def test_the_pool_is_what_was_filled_in():
    pool = dataflow.pool(filled("--accelerator=nvidia-tesla-t4", "--num_workers=12"))
    assert (pool.machine, pool.workers) == ("n1-standard-4", 12)
    assert (pool.accelerator, pool.disk_gb) == ("nvidia-tesla-t4", 50)


@pytest.mark.parametrize(
    ("option", "variable"),
    [
        ("project", "PROJECT"),
        ("region", "REGION"),
        ("temp_location", "BUCKET"),
        ("sdk_container_image", "IMAGE"),
    ],
)
def test_a_missing_option_is_named_as_flag_and_as_variable(option, variable):
    with pytest.raises(ValueError, match=rf"--{option}.*make: {variable}="):
        filled(**{option: None})


@pytest.mark.parametrize(
    "path", ["my-bucket/tmp", "gs://my-bucket", "gs://My_Bucket/tmp", "gs://b/tmp"]
)
def test_a_path_for_which_beam_would_make_a_bucket_is_refused(path):
    with pytest.raises(ValueError, match="gs://BUCKET/FOLDER"):
        filled(temp_location=path)


def test_a_template_is_refused():
    with pytest.raises(ValueError, match="--template_location"):
        filled("--template_location=gs://my-bucket/template")


def test_options_of_other_runners_stay_as_they_are():
    local = PipelineOptions(["--runner=FnApiRunner"])
    before = local.get_all_options()
    dataflow.fill_in(local, name="x", now=NOW)
    assert local.get_all_options() == before


@given(name=st.text(max_size=100), now=st.datetimes())
def test_a_job_has_a_valid_and_unique_name(name, now):
    found = dataflow.job_name(name, now)
    assert re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", found)
    assert len(found) <= 63
    assert dataflow.job_name(name, now) != found


def test_paths_must_be_in_buckets():
    dataflow.require_bucket(images="gs://my-bucket/images", output="gs://my-bucket/x")
    with pytest.raises(ValueError, match=r"--output.*runs/x"):
        dataflow.require_bucket(images="gs://my-bucket/images", output="runs/x")


@pytest.mark.parametrize("name", list(dataflow.ACCELERATORS))
def test_an_accelerator_is_one_option(name):
    found = filled(f"--accelerator={name}", "--dataflow_service_options=enable_x")
    accelerator = dataflow.ACCELERATORS[name]
    assert found.view_as(WorkerOptions).machine_type == accelerator.machine_type
    assert found.view_as(GoogleCloudOptions).dataflow_service_options == [
        "enable_x",
        f"worker_accelerator={accelerator.worker_accelerator}",
    ]
    experiments = found.view_as(DebugOptions).experiments
    assert "no_use_multiple_sdk_containers" in experiments


def test_an_unknown_accelerator_is_answered_with_those_that_are_known():
    with pytest.raises(ValueError, match=r"nvidia-l4.*nvidia-m5"):
        filled("--accelerator=nvidia-m5")


def test_an_accelerator_given_in_two_ways_is_refused():
    by_hand = "--dataflow_service_options=worker_accelerator=type:nvidia-l4;count:2"
    with pytest.raises(ValueError, match=r"--accelerator.*worker_accelerator="):
        filled("--accelerator=nvidia-l4", by_hand)


# --- the graph -----------------------------------------------------------------
@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("a dry run needs no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("no_network")
def test_the_labeling_job_passes_offline_and_its_options_stay():
    found = filled()
    before = json.dumps(found.get_all_options(), sort_keys=True, default=str)
    dataflow.check(labeling, found)
    after = json.dumps(found.get_all_options(), sort_keys=True, default=str)
    assert after == before


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    "stage",
    [
        beam.Reshuffle(),
        beam.combiners.Count.Globally(),
        beam.GroupBy(lambda index: index),
    ],
)
def test_a_shuffle_of_the_output_of_a_stage_is_refused(stage):
    def build(pipeline):
        _ = labeling(pipeline) | "Shuffle" >> stage

    with pytest.raises(ValueError, match=r"Shuffle.*Label"):
        dataflow.check(build, filled())


@pytest.mark.usefixtures("no_network")
def test_a_job_may_be_allowed_to_shuffle():
    def build(pipeline):
        _ = labeling(pipeline) | beam.combiners.Count.Globally()

    dataflow.check(build, filled(), may_shuffle=True)


@pytest.mark.usefixtures("no_network")
def test_a_stage_in_another_environment_is_refused():
    def build(pipeline):
        hinted = beam.Map(lambda index: index).with_resource_hints(min_ram="24GB")
        _ = labeling(pipeline) | "Again" >> hinted

    with pytest.raises(ValueError, match=f"{IMAGE}.* 2: "):
        dataflow.check(build, filled())


@pytest.mark.usefixtures("no_network")
def test_a_graph_too_large_to_submit_is_refused(monkeypatch):
    monkeypatch.setattr(dataflow, "MAX_GRAPH_BYTES", 10_000)
    with pytest.raises(ValueError, match="10,000"):
        dataflow.check(labeling, filled())


# --- the service ---------------------------------------------------------------
class Service:
    """Fake of Dataflow's REST API for one job of one region.

    Attributes:
        url: Address of the service.
        submitted: The submitted job.
        states: States to answer with in turn; the last one is repeated.
        error: Message of the failed job.
    """

    def __init__(self, states, error=""):
        self.submitted = None
        self.states = list(states)
        self.error = error
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                service.submitted = json.loads(body)
                self.answer(200, {"id": "job-1", "currentState": "JOB_STATE_PENDING"})

            def do_GET(self):
                path = self.path.partition("?")[0]
                jobs = "/v1b3/projects/my-project/locations/europe-west4/jobs/job-1"
                if path == f"{jobs}/messages":
                    self.answer(200, {"jobMessages": service.messages()})
                elif path == f"{jobs}/metrics":
                    self.answer(200, {"metrics": []})
                elif path == jobs and service.states:
                    self.answer(200, {"id": "job-1", "currentState": service.state()})
                else:  # As for a job of another region, or of somebody else.
                    self.answer(403, {"error": {"code": 403, "message": "no"}})

            def answer(self, status, content):
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(content).encode())

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("localhost", 0), Handler)
        self.url = f"http://localhost:{self._server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def state(self):
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def messages(self):
        if not self.error:
            return []
        return [
            {
                "messageText": self.error,
                "messageImportance": "JOB_MESSAGE_ERROR",
                "time": "2026-11-22T13:05:09Z",
            }
        ]


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
        result = dataflow.run(labeling, found, log=lines.append)
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
