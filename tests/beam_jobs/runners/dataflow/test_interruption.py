"""Signals to a real process that waits for a job of a fake of the service."""

import os
import signal
import subprocess
import sys
import threading
import types

import pytest

from beam_jobs.runners import run
from beam_jobs.runners.dataflow import interruption
from beam_jobs.runners.dataflow.location import DataflowLocation
from tests.beam_jobs.runners.dataflow.service import Service
from tests.beam_jobs.runners.test_supervisor import TELLING
from tests.commands import ENVIRONMENT, ROOT

PROGRAM = """
import time, types
from beam_jobs.runners import supervisor
from stage import cli
from stage.flags import CommandFlags

def main(argv):
    with cli.exit_on_job_error():
        from apache_beam.runners.dataflow import dataflow_runner
        from beam_jobs.runners.dataflow import submission
        from tests.beam_jobs.runners.dataflow import jobs

        dataflow_runner.time = types.SimpleNamespace(
            time=time.time, sleep=lambda _: time.sleep(0.1))
        options = jobs.filled("--no_auth", "--job_name=birds", *argv[1:])
        submission.run(jobs.as_job(jobs.labeling, output=OUTPUT), options, log=cli.log)

cli.run(supervisor.supervised(main), CommandFlags())
"""
POLLED = ("GET", "/job-1/messages")
CANCELLED = ("PUT", "/job-1")
CANCEL = "gcloud dataflow jobs cancel job-1 --region=europe-west4 --project=my-project"


@pytest.fixture
def start(emulator, tmp_path):
    """Starts a command that submits the labeling job to a service."""
    program = PROGRAM.replace("OUTPUT", repr(str(tmp_path)))
    started = []

    def start(service, *options, before=""):
        endpoint = f"--dataflow_endpoint={service.url}"
        process = subprocess.Popen(
            [sys.executable, "-c", before + program, "--", endpoint, *options],
            cwd=ROOT,
            env={**ENVIRONMENT, "STORAGE_EMULATOR_HOST": emulator},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def press_ctrl_c(process):
    """Sends what a terminal sends to all processes of a command."""
    os.killpg(process.pid, signal.SIGINT)


def end_of(process, *, status=130):
    """Returns the only line of a command that a signal has ended, and its output."""
    output, errors = process.communicate(timeout=60)
    assert process.returncode == status, errors
    (line,) = errors.splitlines()
    return line, output


def test_a_job_goes_on_and_the_line_says_how_to_end_it(start):
    with Service(["RUNNING"]) as service:
        process = start(service)
        service.wait_for(*POLLED)
        press_ctrl_c(process)
        line, _ = end_of(process)
    assert line.startswith("interrupted; job-1 goes on and is billed")
    assert line.endswith(CANCEL)
    assert CANCELLED not in service.requests


def test_the_same_command_waits_for_the_job(start):
    with Service(["RUNNING"]) as service:
        for command in ("first", "second"):
            process = start(service)
            service.wait_for(*POLLED)
            if command == "first":
                press_ctrl_c(process)
                end_of(process)
                service.requests.clear()
        service.jobs["job-1"].states = ["DONE"]
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "birds already" in output
    assert ("POST", "") not in service.requests


def test_a_job_may_have_been_started_while_it_is_submitted(start):
    with Service() as service:
        service.hang("POST", "")
        process = start(service)
        service.wait_for("POST", "")
        press_ctrl_c(process)
        line, _ = end_of(process)
    assert "may have started" in line
    assert "gcloud dataflow jobs list" in line
    assert "--filter=name=birds" in line


def test_a_job_is_cancelled_if_the_user_wants_it(start):
    with Service(
        ["RUNNING"], states_of_cancelling=["RUNNING", "CANCELLING"]
    ) as service:
        process = start(service, "--cancel_on_interrupt")
        service.wait_for(*POLLED)
        press_ctrl_c(process)
        line, output = end_of(process)
        assert service.requests.count(CANCELLED) == 1
    assert "interrupted; cancelling job-1; Ctrl-C again does not wait" in output
    assert "cancels job-1" in line


def test_a_second_ctrl_c_does_not_wait_for_the_cancelling(start):
    with Service(["RUNNING"]) as service:
        service.hang(*CANCELLED)
        process = start(service, "--cancel_on_interrupt", before=TELLING)
        service.wait_for(*POLLED)
        press_ctrl_c(process)
        service.wait_for(*CANCELLED)
        while process.stdout.readline() != "announced\n":
            pass
        press_ctrl_c(process)
        line, _ = end_of(process)
    assert line.startswith(
        "interrupted; Dataflow was asked to cancel job-1 and has not"
    )
    assert line.endswith(CANCEL)


@pytest.mark.parametrize("to_all", [False, True])
def test_sigterm_says_the_same_and_cancels_nothing(start, to_all):
    with Service(["RUNNING"]) as service:
        process = start(service, "--cancel_on_interrupt")
        service.wait_for(*POLLED)
        (os.killpg if to_all else os.kill)(process.pid, signal.SIGTERM)
        line, _ = end_of(process, status=143)
    assert line.startswith("interrupted; job-1 goes on and is billed")
    assert line.endswith(CANCEL)
    assert CANCELLED not in service.requests


def test_a_cancelling_that_takes_too_long_is_not_confirmed(monkeypatch):
    monkeypatch.setattr(interruption, "_CANCEL_SECONDS", 0)
    is_over = threading.Event()
    client = types.SimpleNamespace(modify_job_state=lambda *_: is_over.wait())
    location = DataflowLocation(project="my-project", region="europe-west4")
    waiting = interruption.Interruption(
        location, "birds", cancels=True, log=lambda line: None
    )
    waiting.follow(client, "job-1")
    line = waiting.line(signal.SIGINT)
    is_over.set()
    assert "has not confirmed it" in line
    assert line.endswith(CANCEL)


def test_a_job_that_cannot_be_cancelled_goes_on(start):
    with Service(["RUNNING"]) as service:
        service.fail(*CANCELLED, 403, "no dataflow.jobs.cancel")
        process = start(service, "--cancel_on_interrupt")
        service.wait_for(*POLLED)
        press_ctrl_c(process)
        line, _ = end_of(process)
    assert "could not be cancelled: it goes on" in line
    assert line.endswith(CANCEL)


def test_other_runners_have_no_job_to_cancel():
    with pytest.raises(ValueError, match=r"--cancel_on_interrupt.*DataflowRunner"):
        run.parse_beam_arguments(["program", "--cancel_on_interrupt"], name="test")
