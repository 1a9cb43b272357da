"""What the `gcloud` command does for a training: TPU machines and files in a bucket."""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
import subprocess

from infra.tpu.slices import TpuSlice

_NO_GCLOUD = "expected gcloud on the PATH: https://cloud.google.com/sdk/docs/install"
#: Seconds after which a call has no answer; deleting a slice takes minutes.
_MAX_SECONDS = 1800
#: State of a request whose TPU VM is there, and billed.
ACTIVE = "ACTIVE"
#: States of a TPU VM that has been preempted or stopped, and does not come back.
_GONE = frozenset({"PREEMPTED", "TERMINATED", "STOPPED", "STOPPING", "DELETING"})
#: How long a request may wait: one that nobody watches must not be granted days later.
_MAX_WAIT = "24h"
#: Longest time for which Google grants a machine by flex-start.
FLEX_START_MAX_HOURS = 168.0


class GcloudError(OSError):
    """A call of gcloud that failed; its text is what gcloud printed."""


def call(*words: str) -> str:
    """Runs gcloud without questions and returns what it printed.

    Raises:
        GcloudError: If it failed.
        ValueError: If there is no gcloud.
    """
    try:
        ended = subprocess.run(
            ["gcloud", *words, "--quiet"],
            capture_output=True,
            text=True,
            check=False,
            timeout=_MAX_SECONDS,
        )
    except FileNotFoundError as error:
        raise ValueError(_NO_GCLOUD) from error
    except subprocess.TimeoutExpired as error:
        raise GcloudError(
            f"gcloud {' '.join(words[:4])}: no answer within {_MAX_SECONDS} seconds"
        ) from error
    if ended.returncode:
        said = " ".join(ended.stderr.split()) or f"exit status {ended.returncode}"
        raise GcloudError(f"gcloud {' '.join(words[:4])}: {said}")
    return ended.stdout.strip()


def list_objects(*patterns: str) -> list[str]:
    """Returns the addresses of the objects of a bucket that match any pattern."""
    found = []
    for pattern in patterns:
        try:
            found += call("storage", "ls", pattern).splitlines()
        except GcloudError as error:
            if "matched no objects" not in str(error):
                raise
    return found


def is_there(address: str) -> bool:
    """Whether a bucket has an object of this name or pattern, or one below it."""
    below = f"{address.rstrip('/')}/**"
    names = (below,) if address.endswith("/") else (address, below)
    # One is enough: a folder of images may have millions.
    return bool(
        call("storage", "objects", "list", *names, "--limit=1", "--format=value(name)")
    )


def bucket_location(bucket: str) -> str:
    """Returns the region, or regions, of a bucket, such as us-central1 or eu."""
    described = ("storage", "buckets", "describe", bucket, "--format=value(location)")
    return call(*described).lower()


def remove_objects(addresses: list[str]) -> None:
    """Removes objects of a bucket."""
    if addresses:
        call("storage", "rm", *addresses)


def copy(path: pathlib.Path, address: str) -> None:
    """Copies a file into a bucket."""
    call("storage", "cp", str(path), address)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TpuSighting:
    """What one look at a machine has shown.

    Attributes:
        state: Google's word for the state of the request; None if there is none.
            SUSPENDED also stands for a preempted TPU VM of an ACTIVE request.
        hours: Hours since the TPU VM was created, by the clock here, which may be
            behind Google's; 0 if there is none.
    """

    state: str | None
    hours: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class TpuMachine:
    """A queued resource of one TPU slice, which has the same name.

    Attributes:
        name: Name of both.
        zone: Zone to create them in.
        project: Project to create them in; gcloud's own if None.
        slice: Chips and hosts.
        spot: Whether it may be preempted, for a lower price.
        flex_start: Whether Google itself ends it, after the hours asked for.
    """

    name: str
    zone: str
    project: str | None
    slice: TpuSlice
    spot: bool
    flex_start: bool = False

    @property
    def _place(self) -> tuple[str, ...]:
        project = (f"--project={self.project}",) if self.project else ()
        return (f"--zone={self.zone}", *project)

    def create(self, startup_script: pathlib.Path, *, hours: float) -> None:
        """Requests the machine, each host of which runs a script when it boots.

        Args:
            startup_script: File of the script.
            hours: Hours after which Google ends it, if it is one of flex-start.
        """
        # Not in the released track of gcloud 528.
        track = ("alpha",) if self.flex_start else ()
        call(
            *(*track, "compute", "tpus", "queued-resources", "create", self.name),
            *self._place,
            f"--node-id={self.name}",
            f"--accelerator-type={self.slice.accelerator_type}",
            f"--runtime-version={self.slice.runtime_version}",
            f"--metadata-from-file=startup-script={startup_script}",
            f"--valid-until-duration={_MAX_WAIT}",
            "--async",
            *self._tier(hours),
        )

    def look(self) -> TpuSighting:
        """Returns the state of the request, and how long its TPU VM has been there."""
        found = self._describe("queued-resources", "state.state")
        if found is None or found[0] != ACTIVE:
            return TpuSighting(state=None if found is None else found[0])
        found = self._describe("tpu-vm", "state,createTime")
        if found is None or found[0] in _GONE:
            return TpuSighting(state="SUSPENDED")
        return TpuSighting(state=ACTIVE, hours=_hours_since(*found[1:]))

    def delete(self) -> None:
        """Deletes the request and the TPU VM, and waits for the end."""
        try:
            call(*self._delete)
        except GcloudError as error:
            if not _is_missing(error):
                raise

    def describe(self) -> str:
        """Returns size and place in a few words."""
        kind = "flex-start " if self.flex_start else "spot " if self.spot else ""
        hosts = "1 host" if self.slice.hosts == 1 else f"{self.slice.hosts} hosts"
        return (
            f"{kind}{self.slice.accelerator_type} ({self.slice.chips} chips, {hosts}) "
            f"in {self.zone}"
        )

    def how_to_end(self) -> str:
        """Returns what to type to delete the machine, and to see what is left."""
        see = " ".join(("compute", "tpus", "queued-resources", "list", *self._place))
        return f"gcloud {' '.join(self._delete)}; to see all: gcloud {see}"

    def words_to_delete(self) -> str:
        """Returns the words of gcloud with which one of its hosts deletes it."""
        return " ".join((*self._delete, "--async", "--quiet"))

    @property
    def _delete(self) -> tuple[str, ...]:
        group = ("compute", "tpus", "queued-resources", "delete")
        return (*group, self.name, *self._place, "--force")

    def _tier(self, hours: float) -> tuple[str, ...]:
        if self.flex_start:
            limit = f"--max-run-duration={int(hours * 3600)}s"
            return ("--provisioning-model=flex-start", limit)
        return ("--spot",) if self.spot else ()

    def _describe(self, kind: str, fields: str) -> list[str] | None:
        """Returns the values of some fields; None if there is no such resource."""
        words = ("compute", "tpus", kind, "describe", self.name, *self._place)
        try:
            values = call(*words, f"--format=value({fields})").split()
        except GcloudError as error:
            if _is_missing(error):
                return None
            raise
        if not values:  # Which is no word of there being none.
            raise GcloudError(f"gcloud {' '.join(words)}: expected {fields}, got none")
        return values


def _is_missing(error: GcloudError) -> bool:
    """Whether a call has failed because there is no such resource."""
    return "NOT_FOUND" in str(error)


def _hours_since(created: str = "") -> float:
    """Returns the hours since a time as Google writes it; 0 if it is not known."""
    now = datetime.datetime.now(tz=datetime.UTC)
    then = datetime.datetime.fromisoformat(created) if created else now
    return (now - then).total_seconds() / 3600
