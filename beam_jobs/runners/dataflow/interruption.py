"""Ctrl-C and SIGTERM while a job runs: it goes on, unless it is to be cancelled."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from beam_jobs.runners.dataflow.location import DataflowLocation
from beam_jobs.runners.dataflow.states import CANCELLING, ENDED, state_of
from stage import preemption
from stage.cli import Log
from stage.interruption import announce

#: Seconds to wait until the service cancels a job.
_CANCEL_SECONDS = 60
#: Seconds between two looks at its state.
_INTERVAL = 1.0


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
    """What Ctrl-C and SIGTERM do and say, from the submission of a job on.

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

    def line(self, number: int) -> str:
        """Returns what to say, after cancelling the job if it is to be cancelled.

        `number` is that of the signal. SIGTERM cancels nothing: the time until SIGKILL
        may be short, and the same command is often started again elsewhere.
        """
        if not self._job_id:
            return f"interrupted; {self.may_have_started}"
        if self._cancels and number == signal.SIGINT:
            return self._line_of_cancelling()
        return self._line_of_going_on(self._job_id)

    def _line_of_cancelling(self) -> str:
        unconfirmed = (
            f"interrupted; Dataflow was asked to cancel {self._job_id} and has not "
            "confirmed it; unless it ends, it is billed, and this ends it: "
            f"{self._location.cancel_command(self._job_id)}"
        )
        announce(unconfirmed)
        again = "Ctrl-C again does not wait"
        self._log(f"interrupted; cancelling {self._job_id}; {again}")
        thread = threading.Thread(target=self._cancel, daemon=True)
        thread.start()
        thread.join(_CANCEL_SECONDS)
        if thread.is_alive():
            return unconfirmed
        if self._is_ending:
            return (
                f"interrupted; Dataflow cancels {self._job_id}, see "
                f"{self._location.page(self._job_id)}; {preemption.RESUMABLE}"
            )
        return self._line_of_going_on(f"{self._job_id} could not be cancelled: it")

    def _line_of_going_on(self, it: str) -> str:
        return (
            f"interrupted; {it} goes on and is billed, the same command waits for it "
            "again, and this one ends it: "
            f"{self._location.cancel_command(self._job_id)}"
        )

    def _cancel(self) -> None:
        with contextlib.suppress(Exception):
            self._client.modify_job_state(self._job_id, "JOB_STATE_CANCELLED")
            while not self._is_ending:
                state = state_of(self._client.get_job(self._job_id))
                self._is_ending = state in ENDED | {CANCELLING}
                if not self._is_ending:
                    time.sleep(_INTERVAL)
