"""Creates a machine as often as it is preempted, until its training has ended."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable

from infra.tpu.gcloud import ACTIVE, GcloudError, TpuMachine, TpuSighting
from infra.tpu.hours import BOOT_HOURS, TpuHours
from infra.tpu.job import COMPLETED, FAILED, STARTED, STOPPED, TpuJob
from stage.cli import Log

#: States of a request that never becomes a machine again.
_LOST = frozenset({"SUSPENDED", "FAILED"})
#: Times in a row that gcloud may fail, as while a laptop sleeps.
_MAX_ERRORS = 60
#: Times in a row that a failure must be seen on a machine that is there: hosts that
#: lose others to a preemption fail a little before the state changes.
_MIN_FAILURES = 3
#: Hours before the limit at which the training is told to stop, to save its state.
_HOURS_TO_SAVE = 0.25
#: Fewest hours for which a machine is worth requesting.
MIN_HOURS = 0.5


@dataclasses.dataclass(kw_only=True)
class TpuLoop:
    """The loop around one training.

    Attributes:
        machine: Machine to create.
        job: Training that each of its hosts starts when it boots.
        scratch: Directory with the code.
        max_starts: Largest number of machines to create.
        max_hours: Hours that all of them together may train.
        price: Price of a chip for an hour; None if it is not known.
        keep: Whether to leave the machine on at the end.
        pause: Function that waits until the next look.
        log: Function that prints one line.
        may_be_on: Whether a machine may have been left on: one has been requested or
            seen, and its deletion is not confirmed. None before the first look, False
            if it was left on by `keep`.
    """

    machine: TpuMachine
    job: TpuJob
    scratch: pathlib.Path
    max_starts: int
    max_hours: float
    price: float | None
    keep: bool
    pause: Callable[[], None]
    log: Log
    may_be_on: bool | None = dataclasses.field(default=None, init=False)
    _state: str | None = dataclasses.field(default=None, init=False)
    _has_been: bool = dataclasses.field(default=False, init=False)
    _starts: int = dataclasses.field(default=0, init=False)
    _failures: int = dataclasses.field(default=0, init=False)
    #: Whether deleting the machine has begun, perhaps without an answer.
    _is_deleting: bool = dataclasses.field(default=False, init=False)
    #: Why there must be no machine any more. Deleting it may take several tries.
    _reason: str | None = dataclasses.field(default=None, init=False)
    #: Of the machine that is there, and of those before it.
    _hours: TpuHours = dataclasses.field(default_factory=TpuHours, init=False)
    _hours_before: float = dataclasses.field(default=0.0, init=False)

    def run(self) -> None:
        """Returns when the training is complete.

        Raises:
            OSError: If the training has failed or the limit of hours is reached, or
                machines cannot be had.
            ValueError: If there is nothing where the training reads.
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
                    if self._reason:
                        raise OSError(f"{self._reason}; {error}") from error
                    raise
                self.log(f"trying again: {error}")
            self.pause()

    def _step(self) -> bool:
        """Looks once, and does what is to be done; returns whether all is."""
        reports, seen = self.job.reports(), self.machine.look()
        has_ended = seen.state is None and self._state is not None
        is_gone = has_ended and not self._is_deleting
        self._note(reports, seen)
        if COMPLETED in reports:
            self._end()
            self.log(f"complete: {self.job.workdir}")
            with contextlib.suppress(GcloudError):
                self._check_places()
            return True
        self._reason = self._reason or self._why_end(reports, seen, is_gone=is_gone)
        if self._reason:
            self._end()
            raise OSError(self._reason)
        if seen.state in _LOST:
            self._delete()
        if self._state is None:
            self._start()
        return False

    def _note(self, reports: set[str], seen: TpuSighting) -> None:
        if seen.state != self._state:
            self.log(f"{self.machine.name} is {seen.state or 'deleted'}")
        if seen.state is None:
            self._forget()
        if seen.state == ACTIVE:
            self._hours.look(seen.hours, has_booted=STARTED in reports)
        self._state = seen.state
        self.may_be_on = seen.state is not None
        if self.may_be_on and not self._starts and not self._has_been:
            self._tell_how_to_end()
        self._has_been |= self.may_be_on

    def _tell_how_to_end(self) -> None:
        # Not only at the end, which a command that is killed does not reach.
        self.log(f"to delete it by hand: {self.machine.how_to_end()}")

    def _why_end(
        self, reports: set[str], seen: TpuSighting, *, is_gone: bool
    ) -> str | None:
        """Returns why there must be no machine any more, though nothing is complete.

        Reports count if they are of a machine that this command has seen.
        """
        is_on = seen.state == ACTIVE
        failed = FAILED in reports
        self._failures = self._failures + 1 if is_on and failed else 0
        if self._failures >= _MIN_FAILURES or (is_gone and failed):
            return f"the training has failed; see {self.job.directory}/failed-*"
        stopped = STOPPED in reports and (is_on or is_gone)
        if stopped or self._hours_left() <= 0:
            return self._limit()
        if is_gone:
            return (
                f"{self.machine.name} was deleted, and not by this command; the same "
                "command resumes"
            )
        if is_on and self._hours.is_mute:
            return (
                f"expected a report of a host in {self.job.directory} within "
                f"{BOOT_HOURS:g} hour, got none: its account needs the bucket"
            )
        return None

    def _hours_left(self) -> float:
        return self.max_hours - self._hours_before - self._hours.booted

    def _limit(self) -> str:
        is_kept = self.keep and self._state is not None
        first = "delete the machine, then " if is_kept else ""
        return (
            f"not complete within --max_hours={self.max_hours:g}; {first}the same "
            "command resumes"
        )

    def _start(self) -> None:
        hours = self._hours_left()
        if hours < MIN_HOURS:
            raise OSError(self._limit())
        if self._starts == self.max_starts:
            raise OSError(
                f"not complete after {self._starts} machines; the same command resumes"
            )
        self._check_places()
        self.job.check_reads()
        for bucket, location in self.job.distant_buckets(self.machine.zone).items():
            self.log(
                f"{bucket} is in {location}, the machine in {self.machine.zone}: what "
                "it reads there may be billed by the byte, at each pass over the images"
            )
        script = self._prepare(hours)
        cost = self.machine.slice.describe_cost(hours, self.price)
        self.log(
            f"machine {self._starts + 1} of at most {self.max_starts} is requested, to "
            f"train for {f'{cost}; it stays on' if self.keep else f'at most {cost}'}"
        )
        self._request(script, hours)

    def _request(self, script: pathlib.Path, hours: float) -> None:
        self._hours = TpuHours(is_own=True)
        self.may_be_on = True
        try:
            self.machine.create(script, hours=hours)
        except GcloudError:
            with contextlib.suppress(GcloudError):
                self.may_be_on = self.machine.look().state is not None
            # Only the answer may be lost; what Google refuses is no machine.
            self._starts += self.may_be_on
            raise
        self._starts += 1
        if self._starts == 1:
            self._tell_how_to_end()

    def _check_places(self) -> None:
        """Raises OSError if another machine may train the same classifier."""
        for zone, name in self.job.places():
            other = dataclasses.replace(self.machine, zone=zone, name=name)
            if other != self.machine and other.look().state is not None:
                raise OSError(
                    f"expected one machine for this --workdir, got {name} in {zone} "
                    f"too; to delete it: {other.how_to_end()}"
                )

    def _prepare(self, hours: float) -> pathlib.Path:
        """Uploads what the hosts need; returns the script that they start with."""
        self.job.upload(self.scratch, (self.machine.zone, self.machine.name))
        script = self.scratch / "startup.sh"
        script.write_text(
            self.job.startup_script(
                seconds=int((hours - _HOURS_TO_SAVE) * 3600),
                delete="" if self.keep else self.machine.words_to_delete(),
            )
        )
        return script

    def _end(self) -> None:
        """Deletes the machine if there is one and it is not to be kept."""
        if self._state is None:
            return
        if self.keep:
            how = self.machine.how_to_end()
            self.log(f"{self.machine.name} is billed; to delete it: {how}")
            self.may_be_on = False
            return
        self._delete()
        self.log(f"{self.machine.name} is deleted")

    def _delete(self) -> None:
        self._is_deleting = True
        self.machine.delete()
        self._forget()

    def _forget(self) -> None:
        """Notes that there is no machine."""
        self.may_be_on, self._state, self._is_deleting = False, None, False
        self._hours_before += self._hours.on
        self._hours = TpuHours()
