"""Runs the Dockerfile's steps on this machine, in a clean virtual environment.

  make test-container ACCELERATOR=nvidia-l4

This shows that pip finds what is pinned, that nothing contradicts it, and that the code
of a worker can be imported. It does not show what is part of Beam's image: its system,
the packages that it has before, and the program that starts a worker.
"""

import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import venv

from stage import cli
from stage.flags import CommandFlags
from tests import dockerfile
from tests.commands import ROOT

FLAGS = CommandFlags()
_EXTRAS = FLAGS.string("extras", "gcp,openvino", "Extras of pyproject.toml.")


class Steps:
    """Performs instructions below a directory, as if it were the root of a system."""

    def __init__(self, root, extras):
        self._root = root
        self._python = root / "venv"
        self._directory = root
        self._arguments = {"EXTRAS": extras}
        venv.create(self._python, with_pip=True)

    def perform(self, name, arguments):
        """Performs an instruction; raises an error if it fails."""
        if name == "WORKDIR":
            self._directory = self._root / arguments.lstrip("/")
            self._directory.mkdir(parents=True, exist_ok=True)
        elif name == "COPY":
            *sources, target = arguments.split()
            for source in sources:
                self._copy(ROOT / source, self._directory / target)
        elif name == "RUN":
            subprocess.run(
                ["/bin/sh", "-c", arguments],
                cwd=self._directory,
                env=self._environment(),
                check=True,
            )

    def size(self):
        """Returns the bytes of all files of the virtual environment."""
        files = (path for path in self._python.rglob("*") if not path.is_symlink())
        return sum(path.stat().st_size for path in files if path.is_file())

    def _copy(self, source, target):
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, target, ignore=ignored)
        else:
            shutil.copy(source, target)

    def _environment(self):
        path = f"{self._python / 'bin'}:{os.environ['PATH']}"
        ours = {
            name: value
            for name, value in os.environ.items()
            if name not in ("PYTHONPATH", "VIRTUAL_ENV")
        }
        given = {
            name: value.replace("$PATH", path)
            for name, value in dockerfile.variables().items()
        }
        return {**ours, **self._arguments, **given}


def main(argv):
    """Performs all steps and prints their seconds."""
    cli.check_no_arguments(argv)
    with tempfile.TemporaryDirectory(prefix="container-") as folder:
        steps = Steps(pathlib.Path(folder), _EXTRAS.value)
        for name, arguments in dockerfile.instructions():
            started = time.monotonic()
            try:
                steps.perform(name, arguments)
            except subprocess.CalledProcessError as error:
                raise SystemExit(f"error: {name} {arguments}: {error}") from error
            if name == "RUN":
                cli.log(f"{time.monotonic() - started:6.0f} s  {arguments}")
        cli.log(f"{steps.size() / 1e9:6.1f} GB in the virtual environment")


if __name__ == "__main__":
    cli.run(main, FLAGS)
