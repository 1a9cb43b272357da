"""What the `gcloud` command does for a training: TPU machines and files in a bucket."""

from __future__ import annotations

import dataclasses
import pathlib
import subprocess

from infra.tpu.slices import TpuSlice

_NO_GCLOUD = "expected gcloud on the PATH: https://cloud.google.com/sdk/docs/install"
#: States of a TPU VM that has been preempted or stopped, and does not come back.
_GONE = frozenset({"PREEMPTED", "TERMINATED", "STOPPED", "STOPPING", "DELETING"})


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
            ["gcloud", *words, "--quiet"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise ValueError(_NO_GCLOUD) from error
    if ended.returncode:
        said = " ".join(ended.stderr.split()) or f"exit status {ended.returncode}"
        raise GcloudError(f"gcloud {' '.join(words[:4])}: {said}")
    return ended.stdout.strip()


def list_objects(*patterns: str) -> list[str]:
    """Returns the addresses of the objects of a bucket that match any pattern."""
    found = []
    for pattern in patterns:
        try:
            found += call("storage", "ls", pattern).split()
        except GcloudError as error:
            if "matched no objects" not in str(error):
                raise
    return found


def remove_objects(addresses: list[str]) -> None:
    """Removes objects of a bucket."""
    if addresses:
        call("storage", "rm", *addresses)


def copy(path: pathlib.Path, address: str) -> None:
    """Copies a file into a bucket."""
    call("storage", "cp", str(path), address)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TpuMachine:
    """A queued resource of one TPU slice, which has the same name.

    Attributes:
        name: Name of both.
        zone: Zone to create them in.
        project: Project to create them in; gcloud's own if None.
        slice: Chips and hosts.
        spot: Whether it may be preempted, for a lower price.
    """

    name: str
    zone: str
    project: str | None
    slice: TpuSlice
    spot: bool

    @property
    def _place(self) -> tuple[str, ...]:
        project = (f"--project={self.project}",) if self.project else ()
        return (f"--zone={self.zone}", *project)

    def create(self, startup_script: pathlib.Path) -> None:
        """Requests the machine, each host of which runs a script when it boots."""
        call(
            *("compute", "tpus", "queued-resources", "create", self.name, *self._place),
            f"--node-id={self.name}",
            f"--accelerator-type={self.slice.accelerator_type}",
            f"--runtime-version={self.slice.runtime_version}",
            f"--metadata-from-file=startup-script={startup_script}",
            "--async",
            *(("--spot",) if self.spot else ()),
        )

    def state(self) -> str | None:
        """Returns Google's word for the state of the request; None if there is none.

        SUSPENDED also stands for a preempted TPU VM of an ACTIVE request.
        """
        state = self._describe("queued-resources", "state.state")
        if state == "ACTIVE":
            vm = self._describe("tpu-vm", "state")
            return "SUSPENDED" if vm is None or vm in _GONE else state
        return state

    def delete(self) -> None:
        """Deletes the request and the TPU VM, and waits for the end."""
        call(*self._delete)

    def describe(self) -> str:
        """Returns size and place in a few words."""
        kind = "spot " if self.spot else ""
        hosts = "1 host" if self.slice.hosts == 1 else f"{self.slice.hosts} hosts"
        return (
            f"{kind}{self.slice.accelerator_type} ({self.slice.chips} chips, {hosts}) "
            f"in {self.zone}"
        )

    def how_to_end(self) -> str:
        """Returns what to type to delete the machine, and to see what is left."""
        see = " ".join(("compute", "tpus", "queued-resources", "list", *self._place))
        return f"gcloud {' '.join(self._delete)}; to see all: gcloud {see}"

    @property
    def _delete(self) -> tuple[str, ...]:
        group = ("compute", "tpus", "queued-resources", "delete")
        return (*group, self.name, *self._place, "--force")

    def _describe(self, kind: str, field: str) -> str | None:
        try:
            return call(
                *("compute", "tpus", kind, "describe", self.name, *self._place),
                f"--format=value({field})",
            )
        except GcloudError as error:
            if "NOT_FOUND" in str(error):
                return None
            raise
