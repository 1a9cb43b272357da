"""Creates a machine as often as it is preempted, until its training has ended."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable

from infra.tpu.gcloud import GcloudError, TpuMachine
from infra.tpu.job import COMPLETED, FAILED, TpuJob
from stage.cli import Log

#: States of a request that never becomes a machine again.
_LOST = frozenset({"SUSPENDED", "FAILED"})
#: Times in a row that gcloud may fail, as while a laptop sleeps.
_MAX_ERRORS = 60
#: Times in a row that a failure must be seen on a machine that is there: hosts that
#: lose others to a preemption fail a little before the state changes.
_MIN_FAILURES = 3


@dataclasses.dataclass(kw_only=True)
class TpuLoop:
    """The loop around one training.

    Attributes:
        machine: Machine to create.
        job: Training that each of its hosts starts when it boots.
        scratch: Directory with the code.
        max_starts: Largest number of machines to create.
        keep: Whether to leave the machine on at the end.
        pause: Function that waits until the next look.
        log: Function that prints one line.
    """

    machine: TpuMachine
    job: TpuJob
    scratch: pathlib.Path
    max_starts: int
    keep: bool
    pause: Callable[[], None]
    log: Log
    _state: str | None = dataclasses.field(default=None, init=False)
    _starts: int = dataclasses.field(default=0, init=False)
    _failures: int = dataclasses.field(default=0, init=False)

    def run(self) -> None:
        """Returns when the training is complete.

        Raises:
            OSError: If the training has failed, or machines cannot be had.
        """
        errors = 0
        while True:
            try:
                if self._step():
                    return
                errors = 0
            except GcloudError as error:
                errors += 1
                if not self._has_been or errors == _MAX_ERRORS:
                    raise
                self.log(f"trying again: {error}")
            self.pause()

    @property
    def may_be_on(self) -> bool:
        """Whether a machine may have been left on."""
        return self._starts > 0 or self._state is not None

    @property
    def _has_been(self) -> bool:
        """Whether a machine has been seen, so that the requests are right."""
        return self._state is not None or self._starts > 1

    def _step(self) -> bool:
        """Looks once, and does what is to be done; returns whether all is."""
        outcome, state = self.job.outcome(), self.machine.state()
        if state != self._state:
            self.log(f"{self.machine.name} is {state or 'deleted'}")
            self._state = state
        if outcome == COMPLETED:
            self._end()
            self.log(f"complete: {self.job.workdir}")
            return True
        is_failure = outcome == FAILED and state == "ACTIVE"
        self._failures = self._failures + 1 if is_failure else 0
        if self._failures == _MIN_FAILURES:
            self._end()
            raise OSError(f"the training has failed; see {self.job.directory}/failed-*")
        if state in _LOST:
            self.machine.delete()
            state = None
        if state is None:
            self._start()
        return False

    def _start(self) -> None:
        if self._starts == self.max_starts:
            raise OSError(
                f"not complete after {self._starts} machines; the same command resumes"
            )
        self._starts += 1
        self.log(f"machine {self._starts} of at most {self.max_starts} is requested")
        self.machine.create(self.job.upload(self.scratch))

    def _end(self) -> None:
        """Deletes the machine if there is one and it is not to be kept."""
        if self._state is None:
            return
        if self.keep:
            self.log(f"{self.machine.name} is billed; {self.machine.how_to_end()}")
            return
        self.machine.delete()
        self._state = None
        self.log(f"{self.machine.name} is deleted")
