"""Ctrl-C while a job runs: it goes on and is billed, unless it is to be cancelled."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from beam_jobs.runners.dataflow.location import DataflowLocation
from stage import preemption
from stage.cli import Log

#: Seconds to wait until the service cancels a job.
_CANCEL_SECONDS = 60
#: Seconds between two looks at its state.
_INTERVAL = 1.0
#: States of a job that need not be cancelled any more.
_ENDING = ("CANCELLING", "CANCELLED", "DONE", "FAILED", "UPDATED", "DRAINED")


class InterruptOptions(PipelineOptions):
    """Adds `--cancel_on_interrupt` to Beam's options."""

    @classmethod
    def _add_argparse_args(cls, parser: Any) -> None:
        parser.add_argument(
            "--cancel_on_interrupt",
            default=False,
            action="store_true",
            help="Cancels the Dataflow job on Ctrl-C, which otherwise goes on.",
        )


def is_cancelling(options: PipelineOptions) -> bool:
    """Whether Ctrl-C cancels the job."""
    return bool(options.view_as(InterruptOptions).cancel_on_interrupt)


class Interruption:
    """What Ctrl-C does and says, from the submission of a job on.

    Attributes:
        seconds: Maximum seconds that `line` takes.
    """

    def __init__(
        self, location: DataflowLocation, name: str, *, cancels: bool, log: Log
    ) -> None:
        self.seconds = _CANCEL_SECONDS + 5 if cancels else 5
        self._location = location
        self._name = name
        self._cancels = cancels
        self._log = log
        self._client: Any = None
        self._job_id = ""
        self._is_ending = False

    @property
    def may_have_started(self) -> str:
        """What to say if it is not known whether the service has started the job."""
        return (
            "Dataflow may have started a job that is billed, "
            f"{self._location.find_command(self._name)} shows it; the same command "
            "waits for it"
        )

    def follow(self, client: Any, job_id: str) -> None:
        """Takes note of the job that the service has started."""
        self._client, self._job_id = client, job_id

    def line(self) -> str:
        """Returns what to say, after cancelling the job if it is to be cancelled."""
        if not self._job_id:
            return f"interrupted; {self.may_have_started}"
        page = self._location.page(self._job_id)
        if self._cancels:
            again = "Ctrl-C again does not wait"
            self._log(f"interrupted; cancelling {self._job_id}; {again}")
            thread = threading.Thread(target=self._cancel, daemon=True)
            thread.start()
            thread.join(_CANCEL_SECONDS)
        if self._is_ending:
            return (
                f"interrupted; Dataflow cancels {self._job_id}, see {page}; "
                f"{preemption.RESUMABLE}"
            )
        failed = f"{self._job_id} could not be cancelled: it" if self._cancels else ""
        return (
            f"interrupted; {failed or self._job_id} goes on and is billed, the same "
            "command waits for it again, and this one ends it: "
            f"{self._location.cancel_command(self._job_id)}"
        )

    def _cancel(self) -> None:
        with contextlib.suppress(Exception):
            self._client.modify_job_state(self._job_id, "JOB_STATE_CANCELLED")
            while not self._is_ending:
                state = self._client.get_job(self._job_id).current_state.name
                self._is_ending = state.removeprefix("JOB_STATE_") in _ENDING
                if not self._is_ending:
                    time.sleep(_INTERVAL)
