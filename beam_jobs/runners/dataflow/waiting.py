"""Waits for the end of a job, tells its states, and why it has failed."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from apache_beam.runners.dataflow import dataflow_runner
from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner
from google.cloud import dataflow

from beam_jobs.runners import failure
from beam_jobs.runners.dataflow import api, job_options
from beam_jobs.runners.dataflow.location import DataflowLocation
from beam_jobs.runners.dataflow.states import ENDED, WAITING, state_name, state_of
from stage.cli import Log

#: Seconds after which a job that has no worker yet is mentioned.
SLOW_START_SECONDS = 300.0


class StateLog:
    """Logs the states of a job, each once in a row."""

    def __init__(self, name: str, log: Log) -> None:
        self._name = name
        self._log = log
        self._state = ""

    def update(self, api_state: str) -> None:
        """Receives the state, as the service calls it."""
        state = state_name(api_state)
        if state != self._state and state not in ENDED:
            self._log(f"{self._name} is {state}")
        self._state = state

    def mention_slow_start(self) -> None:
        """Logs a line if the job has no workers yet."""
        if self._state in WAITING:
            self._log(
                f"{self._name} is still {self._state} after "
                f"{SLOW_START_SECONDS / 60:g} minutes; its page says what it waits "
                "for, with --flexrs_goal=COST_OPTIMIZED for up to six hours"
            )


def wait(result: Any, runner: DataflowRunner, name: str, *, log: Log) -> str:
    """Waits until a job has ended, as long as the service answers.

    Args:
        result: Beam's result of the job.
        runner: The runner with the client of the service.
        name: Name of the job.
        log: Receives the states and the errors of the job.

    Returns:
        The last state, as `done` or `failed`.
    """
    states = StateLog(name, log)
    timer = threading.Timer(SLOW_START_SECONDS, states.mention_slow_start)
    timer.daemon = True
    timer.start()
    try:
        # Not `wait_until_finish`: it gives the same up after 50 seconds of
        # cancelling, and hides why the service could not be asked.
        with _errors_logged_once(name, log):
            while not result.is_in_terminal_state():
                DataflowRunner.poll_for_job_completion(
                    runner, result, None, states.update
                )
    finally:
        timer.cancel()
    return state_of(result._job)


@contextlib.contextmanager
def _errors_logged_once(name: str, log: Log) -> Iterator[None]:
    """Logs each reason that a job's messages give once, in place of what Beam logs.

    Whenever it is asked to wait, Beam reads all messages from the job's start, and it
    returns at once if the job has an error but neither runs nor has ended. A shard that
    fails is tried again, and gives the same reason.
    """
    seen: set[str] = set()

    def report(record: logging.LogRecord) -> bool:
        _, is_message, rest = record.getMessage().partition(": JOB_MESSAGE_")
        level, _, text = rest.partition(": ")
        if level == "ERROR" and (reason := failure.reason(text)) not in seen:
            seen.add(reason)
            log(f"{name} reports: {reason}")
        return not is_message

    logger = logging.getLogger(dataflow_runner.__name__)
    logger.addFilter(report)
    try:
        yield
    finally:
        logger.removeFilter(report)


def describe_failure(
    result: Any,
    client: Any,
    location: DataflowLocation,
    *,
    name: str,
    max_hours: float | None = None,
) -> str:
    """Returns how and why a job has ended without success, and where to look.

    `max_hours` is its limit of run time; without it, the service is asked for that.
    """
    job = result._job
    if max_hours is None:
        max_hours = _read_max_hours(client, location, job.id)
    state = state_of(job)
    how = "failed" if state == "failed" else f"was {state}"
    hours = _hours(job)
    if hours >= max_hours:
        how += (
            f" after {hours:.1f} hours, by its limit of run time "
            f"(make: MAX_HOURS={max_hours:g})"
        )
    elif math.isnan(max_hours) and state == "cancelled":  # As a limit does.
        how += f" after {hours:.1f} hours, perhaps by a limit of run time"
    reasons = [how, *_error_messages(client, job.id)[-1:]]
    return (
        f"{name} {': '.join(reasons)}; its page: {location.page(job.id)} ; its errors: "
        f"{location.log_command(job.id)}"
    )


def _read_max_hours(client: Any, location: DataflowLocation, job_id: str) -> float:
    """Returns the limit of a job's hours; nan if the service does not tell it."""
    with contextlib.suppress(Exception):  # How the job has ended matters more.
        view = dataflow.JobView.JOB_VIEW_ALL
        environment = api.read_job(client, location, job_id, view).environment
        found = job_options.find_max_hours(environment.service_options)
        return math.nan if found is None else found
    return math.nan


def _hours(job: Any) -> float:
    started = job.start_time or job.create_time
    return (job.current_state_time - started) / timedelta(hours=1)


def _error_messages(client: Any, job_id: str) -> list[str]:
    """Returns the reasons that a job's messages give, the most telling last."""
    texts: list[str] = []
    token = None
    with contextlib.suppress(Exception):  # The failure itself matters more.
        while token != "":
            messages, token = client.list_messages(
                job_id, page_token=token, minimum_importance="JOB_MESSAGE_ERROR"
            )
            texts.extend(message.message_text for message in messages)
    texts.sort(key=_rank)
    return [failure.reason(text) for text in texts]


def _rank(text: str) -> tuple[bool, bool]:
    """Returns how much a message tells: an exception more than which item failed."""
    return "work item was attempted" not in text, "Traceback" in text
