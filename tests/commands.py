"""Running the project's commands as a user does: each in a process of its own."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    # Small networks; two commands may run side by side.
    "TF_NUM_INTRAOP_THREADS": "1",
}


def start(module, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    """Returns what the command printed; fails if it failed."""
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return output


def run(module, *arguments):
    return finish(start(module, *arguments))


def run_together(*commands):
    """Runs commands side by side; returns what each printed."""
    processes = [start(*command) for command in commands]
    return [finish(process) for process in processes]
