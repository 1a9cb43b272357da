"""The lock of an output directory in gs://: an object that says who holds it.

It is written on the condition that there is none, or only the one that was seen, and
renewed while the stage runs. Ages are differences between times of the service, so that
clocks of machines do not matter.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import errno
import getpass
import json
import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from stage import interruption, parts, streams, system, typed_json
from stage.parts import WHOLE, HeldError, Part
from stage.text import printable

#: Name of the object in the directory. Hidden: no part of the artifact.
NAME = WHOLE.lock_name
#: Seconds between two renewals, and since the last until the holder counts as gone.
RENEW_SECONDS, STALE_SECONDS = 60.0, 300.0
#: Seconds that the end of a command waits for the lock to be deleted.
_RELEASE_SECONDS = 10.0
#: Errors of local files for statuses of a service of buckets.
ERRNO_OF_HTTP = {403: errno.EACCES, 404: errno.ENOENT}
#: Attempts at a lock that others take and release meanwhile.
_ATTEMPTS = 3
#: Returns a client of `google.cloud.storage`.
MakeClient = Callable[[], Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Holder:
    """Content of the lock.

    Attributes:
        owner: User and host.
        pid: Number of the process.
        started: When it took the lock, by its own clock.
        renewed: When it last renewed the lock, by its own clock.
        machine: Identity of the running system, and of its processes' numbers; empty if
            unknown.
        process_started: When the process was started, in ticks since the system was: a
            number of a process is used again.
        token: Random name of this lock.
    """

    owner: str = ""
    pid: typed_json.Count = 0
    started: str = ""
    renewed: str = ""
    machine: str = ""
    process_started: typed_json.Count = 0
    token: str = ""

    def is_gone(self) -> bool:
        """Whether it was a process of this machine that has ended."""
        if not self.machine or self.machine != _machine():
            return False
        return _process_start(self.pid) != self.process_started

    def to_json(self) -> bytes:
        """Returns the content of the object."""
        return (json.dumps(dataclasses.asdict(self), indent=2) + "\n").encode()


class _SeenLock(NamedTuple):
    """The object of a lock: its generation, the service's time of it, its content."""

    generation: int
    updated: datetime.datetime
    holder: Holder


class LockLostError(RuntimeError):
    """Another process has taken the lock over, or it was deleted."""


def _make_client() -> Any:
    from google.cloud import storage

    return storage.Client(project=None)  # None is needed.


_client: list[MakeClient] = [_make_client]


def use_client(make: MakeClient) -> None:
    """Sets how locks get their client, instead of by the environment's credentials."""
    _client[0] = make


def create(path: str, content: bytes) -> bool | None:
    """Writes an object unless there is one; returns whether this call has written it.

    None without Google's client. Raises OSError if it cannot be written.
    """
    client = _open_client(path)
    if client is None:
        return None
    from google.api_core.exceptions import PreconditionFailed

    bucket, _, name = path.removeprefix("gs://").partition("/")
    try:
        blob = client.bucket(bucket).blob(name)
        blob.upload_from_string(content, if_generation_match=0)
    except PreconditionFailed:
        return False
    except Exception as error:
        raise _unreachable(path, error) from error
    return True


def _open_client(path: str) -> Any:
    """Returns a client, None if it is not installed; OSError if it cannot be opened."""
    try:
        make_client = _client[0]
        return make_client()
    except ImportError:
        return None
    except Exception as error:
        raise _unreachable(path, error) from error


@contextlib.contextmanager
def locked(directory: str, part: Part = WHOLE) -> Iterator[bool]:
    """Locks a directory in gs:// while the block runs, also if a signal ends it.

    The process ends if the lock is lost meanwhile. Without Google's client, which the
    extra `gcp` installs, there is no lock: TensorFlow writes to gs:// without it.

    Yields whether there is a lock.

    Raises:
        ValueError: If another process holds the lock, or one that keeps this part out.
        OSError: If the lock cannot be written.
    """
    client = _open_client(directory)
    if client is None:
        yield False
        return
    lock = BucketLock(directory, client, part)
    lock.acquire()
    is_released = threading.Event()
    renewing = threading.Thread(
        target=_keep, args=(lock, is_released, _end), daemon=True
    )
    renewing.start()

    def release(_: int = 0) -> None:
        is_released.set()
        lock.release()

    with interruption.on_interrupt(release):
        try:
            lock.check_others()
            yield True
        finally:
            release()


def _keep(
    lock: BucketLock,
    is_released: threading.Event,
    on_lost: Callable[[LockLostError], None],
    seconds: float = RENEW_SECONDS,
) -> None:
    """Renews a lock until it is released; what fails once is tried again later."""
    while not is_released.wait(seconds):
        try:
            lock.renew()
        except LockLostError as error:
            if not is_released.is_set():
                on_lost(error)
            return
        except Exception:
            continue


def _end(error: LockLostError) -> None:
    """Ends the process, whatever its other threads do."""
    streams.warn(f"error: {error}")
    system.kill_children()
    os._exit(1)


class BucketLock:
    """A lock of this process on a directory, for any of its threads."""

    def __init__(self, directory: str, client: Any, part: Part = WHOLE) -> None:
        self._directory = directory.rstrip("/")
        bucket, _, folder = self._directory.removeprefix("gs://").partition("/")
        self._bucket = client.bucket(bucket)
        self._part, self._name = part, part.lock_name
        self._folder = folder
        self._generation = 0
        self._holder = _this_process()
        self._changing = threading.Lock()

    def acquire(self) -> None:
        """Takes the lock.

        Raises:
            ValueError: If another process holds it.
            OSError: If it cannot be written.
        """
        try:
            for _ in range(_ATTEMPTS):
                if self._write(self._generation):
                    return
                self._generation = self._find_free(self._name)
        except HeldError:
            raise
        except Exception as error:
            raise _unreachable(self._directory, error) from error
        raise HeldError(f"another process has just begun to write to {self._directory}")

    def check_others(self) -> None:
        """Raises as `acquire` if a lock is held that keeps this part out.

        Each of two that do so has taken its own lock before, so that not both go on.
        """
        try:
            listed = self._bucket.list_blobs(prefix=self._path(parts.PREFIX))
            names = [blob.name.rpartition("/")[2] for blob in listed] + [NAME]
            for name in filter(self._part.is_kept_out_by, names):
                self._find_free(name)
        except HeldError:
            raise
        except Exception as error:
            raise _unreachable(self._directory, error) from error

    def renew(self) -> None:
        """Says that this process still runs; LockLostError if the lock is another's."""
        with self._changing:
            if not self._write(self._generation):
                found = self._read(self._name)
                why = f"{_describe(found.holder)} has it" if found else "it was deleted"
                raise LockLostError(
                    f"stopped, as the lock {self._directory}/{self._name} is lost: "
                    f"{why}; the same command resumes it when no other one writes there"
                )

    def release(self) -> None:
        """Deletes the lock if it is still this process's."""
        from google.cloud.storage.retry import DEFAULT_RETRY

        if not self._changing.acquire(timeout=_RELEASE_SECONDS):
            return
        try:
            # If that fails, it is stale soon, and at once for this machine.
            with contextlib.suppress(Exception):
                self._blob(self._name).delete(
                    if_generation_match=self._generation,
                    timeout=_RELEASE_SECONDS,
                    retry=DEFAULT_RETRY.with_timeout(_RELEASE_SECONDS),
                )
        finally:
            self._changing.release()

    def _write(self, generation: int) -> bool:
        """Writes the lock in the place of a generation, 0 for none.

        Returns whether it was there.
        """
        from google.api_core.exceptions import PreconditionFailed

        holder = dataclasses.replace(self._holder, renewed=_now())
        blob = self._blob(self._name)
        try:
            blob.upload_from_string(
                holder.to_json(),
                content_type="application/json",
                if_generation_match=generation,
            )
            self._generation = int(blob.generation)
        except PreconditionFailed:
            # If the answer was lost, the client has tried again.
            found = self._read(self._name)
            if found is None or found.holder.token != self._holder.token:
                return False
            self._generation = found.generation
        return True

    def _find_free(self, name: str) -> int:
        """Returns the generation to replace; ValueError if the lock is held."""
        found = self._read(name)
        if found is None:
            return 0
        holder = found.holder
        seconds = (self._service_time() - found.updated).total_seconds()
        if seconds > STALE_SECONDS or holder.is_gone():
            return found.generation
        raise HeldError(
            f"{_describe(holder)} is writing to {self._directory}, since "
            f"{printable(holder.started) or 'an unknown time'}, last renewed "
            f"{max(0, seconds):.0f} s ago; wait until it ends or, if it was killed, "
            f"until {STALE_SECONDS / 60:.0f} minutes after that, or delete {name} there"
        )

    def _read(self, name: str) -> _SeenLock | None:
        """Returns what there is of the lock; None if there is none, or it changes."""
        from google.api_core.exceptions import NotFound, PreconditionFailed

        blob = self._bucket.get_blob(self._path(name))
        if blob is None:
            return None
        generation, updated = int(blob.generation), blob.updated
        try:
            content = blob.download_as_bytes(if_generation_match=generation)
        except (NotFound, PreconditionFailed):
            return None
        holder = Holder()
        with contextlib.suppress(ValueError):
            holder = typed_json.parse(content, Holder, name)
        return _SeenLock(generation, updated, holder)

    def _service_time(self) -> datetime.datetime:
        """Returns what time it is for the service, by writing an object."""
        # Named as a file that was not finished, which the next run deletes.
        blob = self._blob(f"{NAME}.{uuid.uuid4().hex}")
        blob.upload_from_string(b"")
        with contextlib.suppress(Exception):
            blob.delete()
        updated: datetime.datetime = blob.updated
        return updated

    def _blob(self, name: str) -> Any:
        return self._bucket.blob(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}" if self._folder else name


def _describe(holder: Holder) -> str:
    if not holder.owner:
        return "another process"
    return f"process {holder.pid} of {printable(holder.owner)}"


def _this_process() -> Holder:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # A number without a name.
        user = str(os.getuid())
    return Holder(
        owner=f"{user}@{socket.gethostname()}",
        pid=os.getpid(),
        started=_now(),
        machine=_machine(),
        process_started=_process_start(os.getpid()) or 0,
        token=uuid.uuid4().hex,
    )


def _process_start(pid: int) -> int | None:
    """Returns when a process was started, see `Holder`; None if it has ended.

    Linux counts the ticks whatever its clock is set to.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            state, *fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    has_ended = state in (b"Z", b"X")
    return None if has_ended else int(fields[18])


def _machine() -> str:
    """Returns what tells apart running systems and, on Linux, containers of one."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot = file.read().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _now() -> str:
    return f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC"


def _unreachable(directory: str, error: Any) -> OSError:
    """Returns an error of Google's client as the OSError of a local file."""
    number = ERRNO_OF_HTTP.get(getattr(error, "code", 0))
    if number is not None:
        words = str(OSError(number, os.strerror(number), printable(directory)))
    else:
        words = f"{type(error).__name__}: {typed_json.error_message(error)}"
    return OSError(f"cannot write to {printable(directory)}: {words}")
