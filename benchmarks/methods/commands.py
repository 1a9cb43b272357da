"""Commands of the project, run inside this process."""

from __future__ import annotations

import contextlib
import importlib
import pathlib

from stage import cli


class CommandError(RuntimeError):
    """A command has failed."""


def call(module: str, *arguments: str, log: pathlib.Path) -> None:
    """Runs a command as `python -m` does; what it prints is appended to `log`.

    Raises:
        CommandError: If it fails.
    """
    command = importlib.import_module(module)
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        open(log, "a") as lines,
        contextlib.redirect_stdout(lines),
        contextlib.redirect_stderr(lines),
    ):
        status = cli.call(command.main, command.FLAGS, arguments)
    if status:
        *_, last = log.read_text().splitlines() or [""]
        raise CommandError(f"{module}: {last} ({log})")
