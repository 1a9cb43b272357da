"""A bucket on this machine, for Beam's file system and for processes started here."""

import contextlib

from apache_beam.internal.gcp import auth

from beam_jobs.io import filesystems
from benchmarks.launcher.bucket_server import BucketServer, Objects
from tests.commands import ENVIRONMENT


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
