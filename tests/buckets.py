"""A bucket on this machine, for Beam's file system and for processes started here."""

import contextlib
import json

from apache_beam.internal.gcp import auth

from beam_jobs.io import filesystems
from benchmarks.launcher.bucket_server import BucketServer, Objects
from tests.commands import ENVIRONMENT

#: Credentials of a user, with a token that does not expire.
_USER = {
    **dict.fromkeys(("client_id", "client_secret", "refresh_token", "token"), "x"),
    "type": "authorized_user",
    "expiry": "2999-01-01T00:00:00Z",
}


@contextlib.contextmanager
def serve(patch, content=None):
    """Serves objects by name, for a client without credentials."""
    with BucketServer(Objects(content or {})) as server:
        for name, value in (
            ("STORAGE_EMULATOR_HOST", server.url),
            ("GOOGLE_CLOUD_PROJECT", "p"),
        ):
            patch.setenv(name, value)
            patch.setitem(ENVIRONMENT, name, value)
        patch.setattr(auth._Credentials, "_credentials_init", True)
        patch.setattr(auth._Credentials, "_credentials", None)
        filesystems.register()
        yield server


@contextlib.contextmanager
def serve_processes(patch, directory):
    """Serves objects, also to processes, which find credentials of a user."""
    path = directory / "user.json"
    path.write_text(json.dumps(_USER))
    patch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    patch.setitem(ENVIRONMENT, "GOOGLE_APPLICATION_CREDENTIALS", str(path))
    with serve(patch) as server:
        yield server
