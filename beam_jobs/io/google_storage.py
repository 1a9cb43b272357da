"""Fewer requests to Google's storage than Beam makes, and lines about those that fail.

Beam opens a client, and with it a connection, for each file, and compares no checksums.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import logging
import math
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

from apache_beam.io.filesystem import BeamIOError

from stage import streams
from stage.system import read_in_parallel

#: Reason of the error of a request that needs a login.
NO_LOGIN = "no login for Google Cloud: run gcloud auth application-default login"
#: Seconds between two lines that say that the service does not answer.
_SECONDS_BETWEEN_LINES = 60.0
_UNAUTHORIZED = 401
#: Loggers of clients: what a library logs when it tries again, and without a login.
_RETRIES, _LOGIN_SEARCH = "google.api_core.retry", "apache_beam.internal.gcp.auth"
#: Objects that the service deletes at one request.
_BATCH = 100
#: Bytes of a large file that are sent, and held in memory, at a time.
_PART = 8 * 2**20
_of_thread = threading.local()


@dataclasses.dataclass(frozen=True)
class StoredObject:
    """An object of a bucket.

    Attributes:
        size: Number of bytes.
        crc32c: Checksum as the service writes it: in big-endian order, in base 64.
    """

    size: int
    crc32c: str


def prepare() -> None:
    """Turns off what Google's client asks for besides.

    For traces, each client asks for the place of the bucket, in a thread of its own.
    """
    os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")


class _Announcer(logging.Handler):
    """Prints what a client logs, and no one would see, on stderr: once a minute."""

    def __init__(self, describe: Callable[[str], str]) -> None:
        super().__init__()
        self._describe = describe
        self._printed = -math.inf

    def emit(self, record: logging.LogRecord) -> None:
        """Prints the message, unless one was printed within the last minute."""
        if record.created - self._printed >= _SECONDS_BETWEEN_LINES:
            self._printed = record.created
            streams.warn(self._describe(record.getMessage()))


@functools.cache
def announce_failures() -> None:
    """Lets Google's and Beam's clients print why they try again, and without a login.

    Both would do so without a word: Google's for two minutes, Beam's with anonymous
    requests.
    """
    for name, level, describe in (
        (_RETRIES, logging.DEBUG, "Google's storage does not answer: {}".format),
        (_LOGIN_SEARCH, logging.WARNING, lambda _: f"{NO_LOGIN}; going on without"),
    ):
        logger = logging.getLogger(name)
        logger.addHandler(_Announcer(describe))
        logger.setLevel(level)
        logger.propagate = False


def needs_login(error: BaseException) -> bool:
    """Whether a request failed without a login, or with one that is not valid."""
    from google.auth.exceptions import GoogleAuthError, TransportError

    is_of_login = isinstance(error, GoogleAuthError)
    return getattr(error, "code", None) == _UNAUTHORIZED or (
        is_of_login and not isinstance(error, TransportError)
    )


def open_client(system: Any) -> Any:
    """Returns a client with the credentials and options of Beam."""
    return system._gcsIO().client


def read_end(system: Any, path: str, count: int) -> bytes:
    """Returns the last bytes of an object, at most so many; `system` is Beam's."""
    from google.api_core.exceptions import RequestRangeNotSatisfiable

    blob = _blob(system, path)
    try:
        # A part has no checksum.
        return bytes(
            blob.download_as_bytes(start=-count, raw_download=True, checksum=None)
        )
    except RequestRangeNotSatisfiable:  # It is empty.
        return b""


def list_objects(system: Any, directory: str) -> dict[str, StoredObject]:
    """Returns the objects below a directory by their relative path."""
    bucket, _, name = directory.removeprefix("gs://").partition("/")
    listed = _storage(system).client.list_blobs(
        bucket, prefix=f"{name}/", fields="items(name,size,crc32c),nextPageToken"
    )
    return {
        blob.name[len(name) + 1 :]: StoredObject(int(blob.size), blob.crc32c)
        for blob in listed
        if not blob.name.endswith("/")  # The marker of a folder.
    }


def upload(system: Any, source: str, path: str) -> None:
    """Copies a local file; the service compares the checksum."""
    _blob(system, path, part=_PART).upload_from_filename(source, checksum="crc32c")


def download(system: Any, path: str, target: str) -> None:
    """Copies an object to a local file, and compares the checksum."""
    _blob(system, path).download_to_filename(
        target, raw_download=True, checksum="crc32c"
    )


def delete(system: Any, paths: Sequence[str]) -> None:
    """Deletes objects, those that are gone already included; `system` is Beam's."""

    def delete_batch(start: int) -> Any:
        return _storage(system).delete_batch(paths[start : start + _BATCH])

    statuses = read_in_parallel(delete_batch, range(0, len(paths), _BATCH))
    failed = {path: status for path, status in itertools.chain(*statuses) if status}
    if failed:
        raise BeamIOError("cannot delete", failed)


def _blob(system: Any, path: str, *, part: int | None = None) -> Any:
    """Returns an object, which is read or written in parts of so many bytes."""
    from apache_beam.io.gcp import gcsio

    bucket, name = gcsio.parse_gcs_path(path)
    return _storage(system).client.bucket(bucket).blob(name, chunk_size=part)


def _storage(system: Any) -> Any:
    """Returns this thread's client of Beam, which keeps its connection."""
    host = os.environ.get("STORAGE_EMULATOR_HOST")
    if getattr(_of_thread, "host", "") != host:
        _of_thread.storage, _of_thread.host = system._gcsIO(), host
    return _of_thread.storage
