"""Running a benchmark that changes its process, with fewer or smaller measurements."""

import subprocess
import sys

from tests import commands


def run(module, *arguments, **constants):
    """Returns the lines that a command prints, run in a process of its own.

    `constants` are new values of the module's constants, as Python expressions in which
    `command` is the module.
    """
    program = (
        f"import {module} as command; from stage import cli; "
        + "".join(f"command.{name} = {value}; " for name, value in constants.items())
        + "cli.run(command.main, command.FLAGS)"
    )
    process = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=commands.ROOT,
        # XLA compiles in half the time.
        env={**commands.ENVIRONMENT, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.splitlines()
