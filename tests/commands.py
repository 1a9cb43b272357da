"""Running the project's commands as a user does: each in a process of its own."""

import atexit
import contextlib
import importlib
import io
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile

from stage import cli

ROOT = pathlib.Path(__file__).parent.parent
#: A step need not be compiled for each command of a session, whichever process of
#: pytest-xdist starts it.
COMPILED = pathlib.Path(
    tempfile.gettempdir(),
    f"compiled-{os.environ.get('PYTEST_XDIST_TESTRUNUID', os.getpid())}",
)
atexit.register(shutil.rmtree, COMPILED, ignore_errors=True)
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    # Small networks; two commands may run side by side.
    "TF_NUM_INTRAOP_THREADS": "1",
    # Also where an accelerator, or its library, is there.
    "JAX_PLATFORMS": "cpu",
    # Compiling takes longer than the few steps; initializers are programs too.
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "JAX_COMPILATION_CACHE_DIR": str(COMPILED),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
}


def start(module, *arguments, devices=1, backend="tensorflow"):
    """Starts a command, with so many devices for JAX to find.

    `backend` is Keras's where the command does not set it itself.
    """
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        env={
            **ENVIRONMENT,
            "KERAS_BACKEND": backend,
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        },
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


def distributed(index, port, count=2):
    """Returns the flags of one of some processes on this machine."""
    return ("--backend=jax", f"--distributed=localhost:{port},{count},{index}")


def free_port():
    with socket.socket() as server:
        server.bind(("localhost", 0))
        return server.getsockname()[1]


def find_command(module):
    """Returns the module that `python -m` runs; it has `main` and `FLAGS`."""
    command = importlib.import_module(module)
    if hasattr(command, "__path__"):
        command = importlib.import_module(f"{module}.__main__")
    return command


def call(module, *arguments):
    """Runs a command inside this process; returns what `subprocess.run` would."""
    command = find_command(module)
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        status = cli.call(command.main, command.FLAGS, list(map(str, arguments)))
    return subprocess.CompletedProcess(
        [module, *arguments], status, output.getvalue(), errors.getvalue()
    )
