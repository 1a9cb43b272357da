"""Submission to a fake of the service, with files staged to an emulator of buckets."""

import socket
import threading
import types

import apache_beam as beam
import google.auth
import pytest
from google.auth.exceptions import DefaultCredentialsError

from beam_jobs.runners.dataflow import active_jobs, job_options, submission, waiting
from tests.beam_jobs.runners.dataflow.jobs import (
    IMAGE,
    as_job,
    filled,
    for_service,
    labeling,
)
from tests.beam_jobs.runners.dataflow.service import Service

PAGE = (
    "https://console.cloud.google.com/dataflow/jobs/europe-west4/{}?project=my-project"
)
CANCEL = "gcloud dataflow jobs cancel {} --region=europe-west4 --project=my-project"
CREATED = ("POST", "")


def test_a_job_is_submitted_watched_in_its_region_and_awaited(submit):
    with Service(["PENDING", "PENDING", "RUNNING", "DONE"]) as service:
        lines = submit(service)
    assert lines[0].startswith("at most 10 n2-standard-4 for 24 hours, ")
    assert lines[1:] == [
        f"Dataflow runs birds: {PAGE.format('job-1')}",
        f"its id is job-1; to end it: {CANCEL.format('job-1')}",
        "birds is pending",
        "birds is running",
    ]
    assert service.jobs["job-1"].states == ["DONE"]
    assert service.requests.count(CREATED) == 1
    assert submit.prepared == [1]


def test_the_service_receives_container_limits_and_accelerator(submit):
    with Service() as service:
        submit(service, "--accelerator=nvidia-l4", "--no_use_public_ips")
    job = service.submitted
    environment = job["environment"]
    (workers,) = environment["workerPools"]
    assert job["name"] == "birds"
    assert (
        job["labels"].items()
        >= {"noisy-student-rs": "runs-birds-round-1-predictions"}.items()
    )
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
        "max_workflow_runtime_walltime_seconds=86400",
        "worker_accelerator=type:nvidia-l4;count:1;install-nvidia-driver:5xx",
    ]


TRACEBACK = """Error message from worker: Traceback (most recent call last):
  File "worker.py", line 7, in process
LabelingError: no GPU [while running 'Label']
"""


def test_a_failed_job_is_an_error_with_its_reason_page_and_logs(submit):
    errors = (TRACEBACK, "The work item was attempted on these workers: w1")
    with (
        Service(["RUNNING", "FAILED"], errors=errors) as service,
        pytest.raises(RuntimeError, match="birds failed: no GPU; ") as error,
    ):
        submit(service)
    assert PAGE.format("job-1") in str(error.value)
    assert 'resource.labels.job_id="job-1"' in str(error.value)


def test_a_job_that_somebody_cancels_is_an_error(submit):
    # Longer than Beam waits for a job that is neither running nor at its end.
    states = ["RUNNING", *["CANCELLING"] * 70, "CANCELLED"]
    with (
        Service(states) as service,
        pytest.raises(RuntimeError, match="birds was cancelled; its page: ") as error,
    ):
        submit(service)
    assert "MAX_HOURS" not in str(error.value)
    assert submit.lines[-1] == "birds is cancelling"


@pytest.mark.parametrize("state", ["PENDING", "CANCELLING", "RUNNING"])
def test_an_error_of_a_job_is_logged_once_in_a_line_of_ours(submit, caplog, state):
    # A shard is tried four times, and gives a traceback each time.
    errors = ("no machines", *[TRACEBACK.replace("7", str(i)) for i in range(4)])
    with Service([*[state] * 30, "DONE"], errors=errors) as service:
        lines = submit(service)
    reported = [line for line in lines if "reports" in line]
    assert reported == ["birds reports: no machines", "birds reports: no GPU"]
    assert "JOB_MESSAGE" not in caplog.text


def test_a_job_that_its_limit_of_run_time_has_ended_says_so(submit):
    with (
        Service(["RUNNING", "CANCELLED"]) as service,
        pytest.raises(RuntimeError, match=r"after 1.0 hours, .*MAX_HOURS=0.5"),
    ):
        submit(
            service,
            "--max_hours=0.5",
        )


def test_a_slow_start_is_mentioned_once(submit, monkeypatch):
    """The clock strikes when the state is known, and the job goes on then."""
    with Service(["QUEUED"]) as service:

        class Clock(threading.Thread):
            def __init__(self, seconds, strike):
                assert seconds == waiting.SLOW_START_SECONDS
                super().__init__(daemon=True)
                self._strike = strike

            def run(self):
                service.wait_for("GET", "/job-1/messages")
                self._strike()
                service.jobs["job-1"].states = ["PENDING", "DONE"]

            def cancel(self):
                self.join()

        monkeypatch.setattr(waiting, "threading", types.SimpleNamespace(Timer=Clock))
        lines = submit(service)[3:]
    mentioned = "birds is still queued after 5 minutes"
    assert [line.partition(";")[0] for line in lines] == [
        *("birds is queued", mentioned, "birds is pending")
    ]


def test_a_job_that_runs_has_no_slow_start():
    lines = []
    log = waiting.StateLog("birds", lines.append)
    log.mention_slow_start()
    log.update("JOB_STATE_RUNNING")
    log.mention_slow_start()
    assert lines == ["birds is running"]


def test_errors_of_the_service_and_of_connections_do_not_end_the_waiting(submit):
    with Service(["RUNNING"] * 9 + ["DONE"]) as service:
        service.fail("GET", "/job-1", 503, times=3)
        service.fail("GET", "/job-1", None, times=2)
        service.fail("GET", "/job-1/messages", 503)
        submit(service)
    assert service.jobs["job-1"].states == ["DONE"]


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (503, "does not answer"),
        (None, "does not answer"),
        (401, "login .* gcloud auth application-default login"),
        (403, "permission is missing"),
    ],
)
def test_a_job_that_cannot_be_watched_any_more_goes_on(submit, status, message):
    with Service(["RUNNING"]) as service:
        service.fail("GET", "/job-1", status, "no", times=99)
        with pytest.raises(RuntimeError, match=f"{message}.*goes on") as error:
            submit(service)
    assert PAGE.format("job-1") in str(error.value)


@pytest.mark.parametrize(
    ("status", "text", "message"),
    [
        (400, "bad machine", "refuses.*bad machine"),
        (403, "lacks iam.serviceAccounts.actAs", "iam.serviceAccountUser"),
        (403, "Dataflow API has not been used in project", "services enable"),
        (403, "no dataflow.jobs.create", "permission.*dataflow.jobs.create"),
        (409, "the job exists", "active already.*jobs list"),
        (429, "too many jobs", "quota.*too many jobs"),
    ],
)
def test_a_refused_submission_is_one_line(submit, capfd, status, text, message):
    with Service() as service:
        service.fail(*CREATED, status, text)
        with pytest.raises(RuntimeError, match=message):
            submit(service)
    assert "server error" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("status", "is_unknown"), [(503, True), (None, True), (403, False)]
)
def test_a_submission_without_an_answer_may_have_started_a_job(
    submit, status, is_unknown
):
    with Service() as service:
        service.fail(*CREATED, status, "no", times=9)
        with pytest.raises(RuntimeError) as error:
            submit(service)
    assert ("may have started a job" in str(error.value)) == is_unknown


def test_active_jobs_that_cannot_be_listed_are_one_line(submit):
    with Service() as service:
        service.fail("GET", "", 403, "no dataflow.jobs.list")
        with pytest.raises(RuntimeError, match=r"permission.*dataflow.jobs.list"):
            submit(service)
        assert CREATED not in service.requests


def test_a_service_that_cannot_be_reached_is_one_line(submit):
    with Service() as service:
        pass
    with pytest.raises(RuntimeError, match="does not answer"):
        submit(service)


def test_without_a_login_nothing_is_tried(monkeypatch, tmp_path):
    def fail(**_):
        raise DefaultCredentialsError("Your default credentials were not found.")

    monkeypatch.setattr(google.auth, "default", fail)
    monkeypatch.setattr(socket.socket, "connect", fail)
    with pytest.raises(RuntimeError, match="gcloud auth application-default login"):
        job = as_job(labeling, output=tmp_path)
        submission.run(job, filled(), log=lambda line: None)


@pytest.fixture
def labels():
    """Returns the labels of the labeling job."""
    options = filled("--job_name=birds")
    pipeline = beam.Pipeline(options=options)
    labeling(pipeline)
    active_jobs.add_program_label(options, pipeline.applied_labels)
    cloud = options.view_as(job_options.GoogleCloudOptions)
    return dict(label.split("=") for label in cloud.labels)


def with_others(service, labels):
    """Adds active jobs of others, on several pages of the list."""
    other = labels | {job_options.OUTPUT_LABEL: "another"}
    for number in range(3):
        service.add(f"other-{number}", labels=other)
    service.add("streaming", labels=labels, type="JOB_TYPE_STREAMING")
    service.add("ended", ["DONE"], labels=labels)


def test_the_labels_of_a_job_are_those_it_is_found_by(submit, labels):
    with Service() as service:
        with_others(service, labels)
        submit(service)
    assert service.submitted["labels"] == labels


def test_an_active_job_is_waited_for_instead_of_another(submit, labels):
    with Service() as service:
        with_others(service, labels)
        job = service.add("first", ["RUNNING", "RUNNING", "DONE"], labels=labels)
        job.counters = {"ok": 30}
        lines = submit(service)
        found = submit.result.metrics().query()["counters"]
        assert [(each.key.metric.name, each.committed) for each in found] == [
            ("ok", 30)
        ]
    assert CREATED not in service.requests
    started = "first already, started 2026-11-22 13:05 UTC"
    assert lines == [
        f"Dataflow runs {started}: waiting: {PAGE.format('first')}",
        f"its id is first; to end it: {CANCEL.format('first')}",
        "first is running",
    ]
    # What the job has written so far is not deleted.
    assert not submit.prepared


def test_an_active_job_that_fails_is_an_error_as_an_own_one(submit, labels):
    with Service() as service:
        job = service.add("first", ["RUNNING", "RUNNING", "FAILED"], labels=labels)
        job.errors = ("no GPU",)
        with pytest.raises(RuntimeError, match="first failed: no GPU; "):
            submit(service)


@pytest.mark.parametrize(
    ("service_options", "status", "expected"),
    [
        (
            ["enable_x", "max_workflow_runtime_walltime_seconds=3600"],
            200,
            "after 1.0 hours, by its limit of run time (make: MAX_HOURS=1)",
        ),
        (["max_workflow_runtime_walltime_seconds=7200"], 200, None),
        ([], 200, "after 1.0 hours, perhaps by a limit of run time"),
        (["max_workflow_runtime_walltime_seconds=x"], 200, "perhaps by a limit"),
        ([], 403, "after 1.0 hours, perhaps by a limit of run time"),
    ],
)
def test_an_active_job_is_judged_by_its_own_limit(
    submit, labels, service_options, status, expected
):
    with Service() as service:
        service.add(
            "first",
            ["RUNNING", "RUNNING", "CANCELLED"],
            labels=labels,
            environment={"serviceOptions": service_options},
        )
        if status != 200:
            service.fail("GET", "/first", status, "no", view="ALL", times=9)
        with pytest.raises(RuntimeError, match="first was cancelled") as error:
            submit(service, "--max_hours=0.5")
    assert "0.5" not in str(error.value)
    assert (expected or "first was cancelled; its page") in str(error.value)


def refusal_of(submit, service, *options, **build):
    with pytest.raises(RuntimeError) as error:
        submit(service, *options, **build)
    assert CREATED not in service.requests
    return str(error.value)


@pytest.mark.parametrize("state", ["CANCELLING", "DRAINING"])
def test_a_job_that_is_being_cancelled_is_neither_awaited_nor_joined(
    submit, labels, state
):
    with Service() as service:
        service.add("first", [state], labels=labels)
        message = refusal_of(submit, service)
    assert "first" in message
    assert "start again" in message


def relabeling(pipeline):
    _ = pipeline | "Relabel" >> beam.Create([1])


@pytest.mark.parametrize(
    ("build", "options"),
    [(relabeling, []), (labeling, ["--sdk_container_image=another:1"])],
)
def test_a_job_of_another_container_or_stage_is_refused(submit, labels, build, options):
    with Service() as service:
        service.add("first", labels=labels)
        message = refusal_of(submit, service, *options, build=build)
    assert CANCEL.format("first") in message


def test_several_active_jobs_are_refused(submit, labels):
    with Service() as service:
        for name in ("first", "second"):
            service.add(name, labels=labels)
        message = refusal_of(submit, service)
    assert "first" in message
    assert "second" in message


def test_options_stay_as_they_are(submit):
    with Service() as service:
        options = for_service(service)
        before = options.get_all_options()
        job = as_job(labeling, output=submit.output)
        submission.run(job, options, log=lambda line: None)
    assert options.get_all_options() == before
