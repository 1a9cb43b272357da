"""Requests to Google's storage that are fewer than those of Beam's file system.

Beam opens a client, and with it a connection, for each file.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Sequence
from typing import Any

from apache_beam.io.filesystem import BeamIOError

from stage.system import read_in_parallel

#: Objects that the service deletes at one request.
_BATCH = 100
_of_thread = threading.local()


def prepare() -> None:
    """Turns off what Google's client asks for besides.

    For traces, each client asks for the place of the bucket, in a thread of its own.
    """
    os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")


def open_client(system: Any) -> Any:
    """Returns a client with the credentials and options of Beam."""
    return system._gcsIO().client


def read_end(system: Any, path: str, count: int) -> bytes:
    """Returns the last bytes of an object, at most so many; `system` is Beam's."""
    from apache_beam.io.gcp import gcsio
    from google.api_core.exceptions import RequestRangeNotSatisfiable

    bucket, name = gcsio.parse_gcs_path(path)
    blob = _storage(system).client.bucket(bucket).blob(name)
    try:
        # A part has no checksum.
        return bytes(
            blob.download_as_bytes(start=-count, raw_download=True, checksum=None)
        )
    except RequestRangeNotSatisfiable:  # It is empty.
        return b""


def delete(system: Any, paths: Sequence[str]) -> None:
    """Deletes objects, those that are gone already included; `system` is Beam's."""

    def delete_batch(start: int) -> Any:
        return _storage(system).delete_batch(paths[start : start + _BATCH])

    statuses = read_in_parallel(delete_batch, range(0, len(paths), _BATCH))
    failed = {path: status for path, status in itertools.chain(*statuses) if status}
    if failed:
        raise BeamIOError("cannot delete", failed)


def _storage(system: Any) -> Any:
    """Returns this thread's client of Beam, which keeps its connection."""
    host = os.environ.get("STORAGE_EMULATOR_HOST")
    if getattr(_of_thread, "host", "") != host:
        _of_thread.storage, _of_thread.host = system._gcsIO(), host
    return _of_thread.storage
