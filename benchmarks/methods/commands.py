"""Commands of the project, run inside this process."""

from __future__ import annotations

import contextlib
import importlib
import pathlib
import sys

from stage import cli, preemption


class CommandError(RuntimeError):
    """A command has failed."""


def call(module: str, *arguments: str, log: pathlib.Path) -> None:
    """Runs a command as `python -m` does; what it prints is appended to `log`.

    If a signal has stopped it, this process exits as well: its state is not used.

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
    if status in (preemption.EXIT_STATUS, preemption.INTERRUPTED):
        sys.exit(
            f"{module} was stopped by a signal; the same command keeps the runs that "
            "have results, and begins this one anew"
        )
    if status:
        *_, last = log.read_text().splitlines() or [""]
        raise CommandError(f"{module}: {last} ({log})")
