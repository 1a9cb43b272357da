"""The lock of a run: one command at a time runs its stages."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import time
from collections.abc import Callable, Iterator

import psutil

from stage import typed_json
from stage.parts import NO_LOCKS
from workflow.chain.receipts import STAGES

#: File in RUN/stages that is locked while stages run, with who does it.
_FILE = "running.json"
#: Seconds to wait for stages of a command that was killed, and between two looks.
_WAIT_SECONDS, _INTERVAL = 120.0, 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Owner:
    """The process that runs stages.

    Attributes:
        pid: Its number.
        created: When it was started, in seconds since 1970.
    """

    pid: int
    created: float


@contextlib.contextmanager
def held(run: str, log: Callable[[str], None]) -> Iterator[int]:
    """Locks a run; yields the file, which processes of stages keep open.

    So the lock outlives a command that was killed until its stages have ended. On file
    systems without locks nothing is locked.

    Raises:
        ValueError: If another command runs stages of this run.
        OSError: If the directory cannot be made.
    """
    os.makedirs(os.path.join(run, STAGES), exist_ok=True)
    descriptor = os.open(_path(run), os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _wait(descriptor, run, log)
        me = psutil.Process()
        owner = Owner(pid=me.pid, created=me.create_time())
        content = typed_json.shown(dataclasses.asdict(owner)).encode()
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, content, 0)
        try:
            yield descriptor
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def find_owner(run: str) -> Owner | None:
    """Returns the command that runs stages of a run; None if there is none."""
    try:
        owner = typed_json.read(_path(run), Owner)
        is_alive = psutil.Process(owner.pid).create_time() == owner.created
    except (OSError, ValueError, psutil.Error):
        return None
    return owner if is_alive else None


def _path(run: str) -> str:
    return os.path.join(run, STAGES, _FILE)


def _wait(descriptor: int, run: str, log: Callable[[str], None]) -> None:
    """Returns with the lock, also after stages of a killed command have ended."""
    if _lock(descriptor):
        return
    if find_owner(run) is not None:
        raise ValueError(f"another command runs stages of {run}; wait until it ends")
    log("waiting for stages of a command that was killed")
    deadline = time.monotonic() + _WAIT_SECONDS
    while not _lock(descriptor):
        if time.monotonic() > deadline:
            raise ValueError(
                f"stages of {run} that a killed command has started still run; end "
                "them, or wait"
            )
        time.sleep(_INTERVAL)


def _lock(descriptor: int) -> bool:
    """Returns whether no other process has the lock, also without locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return True
