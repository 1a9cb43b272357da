"""The Makefile in a scratch directory, with stand-ins for Python and gcloud."""

import os
import subprocess

from tests.commands import ROOT


class Scratch:
    """A scratch copy of the Makefile, its commands, and a directory for the bucket.

    Args:
        directory: Directory of the copy.
        python: Script in place of Python, with the names of `places` in braces.
        gcloud: Script in place of gcloud.
        places: Further names than those of the log of calls and of the bucket.
    """

    def __init__(self, directory, *, python, gcloud, **places):
        self.directory = directory
        self.bucket = directory / "bucket"
        self._log = directory / "log"
        (directory / "infra").symlink_to(ROOT / "infra")
        for name in ("Makefile", "Dockerfile"):
            (directory / name).symlink_to(ROOT / name)
        for name in ("pyproject.toml", "constraints.txt", "setup.py"):
            (directory / name).touch()
        places |= {"log": str(self._log), "bucket": str(self.bucket)}
        for name, script in {".venv/bin/python": python, "bin/gcloud": gcloud}.items():
            path = directory / name
            path.parent.mkdir(parents=True)
            path.write_text(script.format(**places))
            path.chmod(0o755)
        for extra in ("demo", "gcp"):
            (directory / ".venv" / f"{extra}-installed").touch()

    def make(self, *arguments, **environment):
        """Returns the end of make; forgets the calls of the one before."""
        self._log.write_text("")
        inherited = {
            name: value for name, value in os.environ.items() if "MAKE" not in name
        }
        path = f"{self.directory / 'bin'}:{inherited['PATH']}"
        return subprocess.run(
            ["make", *arguments],
            cwd=self.directory,
            env={**inherited, "PATH": path, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def calls(self, *words):
        """Returns the calls that have all of some words."""
        lines = self._log.read_text().splitlines()
        return [line for line in lines if all(word in line for word in words)]
