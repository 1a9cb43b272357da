"""Running a command: flags, one clear line for an error of the user, quiet libraries.

Imports nothing heavy, so that `--help` and errors in the command line are fast.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from absl import app, logging

from stage import artifact, interruption, lifeline, preemption, streams, system
from stage.flags import CommandFlags
from stage.text import printable_lines

Main: TypeAlias = Callable[[Sequence[str]], None]
#: Receives a line for the user.
Log: TypeAlias = Callable[[str], None]

#: Environment of a command and of the processes it starts, unless the user has set it.
ENVIRONMENT = {
    "KERAS_BACKEND": "tensorflow",
    # TensorFlow and gRPC log CPU features in C++; errors are raised as exceptions.
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "GRPC_VERBOSITY": "ERROR",
    # One malloc arena: worker threads pass batches to each other, and with an arena
    # per thread glibc needs a sixth more memory.
    "MALLOC_ARENA_MAX": "1",
}

#: Exit status that a shell reports for a program whose output nobody reads any more.
_NO_READER = 128 + signal.SIGPIPE
#: What was file 2 before it was closed to libraries that write to it; 0 if it is not.
_hidden_stderr = 0
#: Held by the thread that is about to end the process.
_interrupting = threading.RLock()
#: Identifier of that thread.
_interrupter: int | None = None
#: Seconds until another thread ends it instead, besides those of the callbacks.
_EXIT_SECONDS = 10
#: Seconds that the main thread has to begin with that before another thread does.
_HEAD_START_SECONDS = 0.1


def run(main: Main, flags: CommandFlags) -> None:
    """Runs a command as a program: parses the command line and calls `main`.

    `main` takes the program's name and the arguments that are no flags. Exits with
    status 1 and one line if training diverges, and with the status of the notice if
    it was asked to stop and has saved its state. If its output could not be printed, a
    command that has done its work exits as other Unix tools do.
    """
    with _prepared():
        app.run(lambda argv: _run_main(main, argv), flags_parser=flags.parse_program)


def run_program(main: Main) -> None:
    """Runs a command that parses its command line itself, as `run` does otherwise."""
    with _prepared():
        _run_main(main, sys.argv)


@contextlib.contextmanager
def _prepared() -> Iterator[None]:
    """Prepares the process for a command, and prints what is left at the end."""
    streams.prepare()
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    warnings.simplefilter("ignore")
    logging.set_verbosity(logging.ERROR)
    _handle_interrupts()
    lifeline.watch()
    sys.excepthook = lambda _, error, __: streams.warn(
        "".join(traceback.format_exception(error)).rstrip()
    )
    try:
        yield
    finally:
        streams.flush()


def call(main: Main, flags: CommandFlags, arguments: Sequence[str]) -> int:
    """Runs a command inside this process, as tests do, and returns its exit status.

    The environment is left as it is, and absl's own flags are not understood.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _run_main(main, flags.parse(["command", *arguments]))
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(end.code + "\n")
            return 1
        return end.code or 0
    return 0


def _run_main(main: Main, argv: Sequence[str]) -> None:
    try:
        main(argv)
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.exit(printable_lines(end.code))
        if end.code:
            raise
    except FloatingPointError as error:
        sys.exit(f"error: {error}")
    except preemption.PreemptedError as notice:
        streams.warn(f"{notice}; {preemption.RESUMABLE}")
        sys.exit(notice.status)
    failure = streams.failure()
    if isinstance(failure, BrokenPipeError):
        sys.exit(_NO_READER)
    if failure is not None:
        sys.exit(f"error: cannot print to stdout: {failure}")


def _handle_interrupts() -> None:
    """Lets Ctrl-C and SIGTERM end the process, also while it runs native code.

    Python calls a handler between two instructions of the main thread alone, but writes
    the signal's number to a file at once.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def watch() -> None:
        while number := os.read(reader, 1):
            if signal.getsignal(number[0]) is _interrupt:
                time.sleep(_HEAD_START_SECONDS)
                _interrupt(number[0], None)

    for number in preemption.SIGNALS:
        signal.signal(number, _interrupt)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=watch, daemon=True).start()


def _interrupt(number: int, *_: object) -> None:
    """Exits at once, which is safe because files get their final name when complete.

    An exception would be raised inside Beam, which would treat it as a failure of the
    job and let its threads finish their shards.
    """
    global _interrupter
    # Make, which passes it on, and `timeout`, which sends it to a whole group, send one
    # SIGTERM twice. A second Ctrl-C is one of a user who does not want to wait.
    if number == signal.SIGTERM and _interrupter == threading.get_ident():
        return
    # Of the two threads that handle a signal, the second must not go on meanwhile.
    # A second signal finds the lock held by its own thread, and the callbacks called.
    _interrupting.acquire(timeout=_EXIT_SECONDS + interruption.interrupt_seconds())
    _interrupter = threading.get_ident()
    try:
        line = interruption.run_callbacks(number)
        line = line or f"interrupted; {preemption.RESUMABLE}"
        terminal = _hidden_stderr or sys.stderr.fileno()
        # Not by its methods, one of which the signal may have interrupted.
        os.write(terminal, f"{line}\n".encode())
        system.kill_children()
    finally:
        os._exit(128 + number)


def wait_if_interrupted() -> None:
    """Does not return if another thread is about to end the process."""
    with _interrupting:
        pass


def load_tensorflow() -> None:
    """Imports TensorFlow quickly, without the messages that no log level silences."""
    global _hidden_stderr
    streams.flush()
    stderr = _hidden_stderr = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            from stage import import_tensorflow  # noqa: F401
        finally:
            os.dup2(stderr, 2)
            _hidden_stderr = 0
            os.close(stderr)


@contextlib.contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Exits with one line and status 1 on errors that the user can fix.

    Among them are those of TensorFlow's file systems, as without network or login.
    """
    with _exit_on(ValueError, OSError):
        try:
            yield
        except Exception as error:
            tensorflow = sys.modules.get("tensorflow")
            if tensorflow and isinstance(error, tensorflow.errors.OpError):
                raise OSError(error.message) from error
            raise


def exit_on_job_error() -> contextlib.AbstractContextManager[None]:
    """Exits with one line and status 1 on errors by which a job reports its failure."""
    return _exit_on(ValueError, OSError, RuntimeError)


@contextlib.contextmanager
def making(
    directory: str, config: dict[str, Any], *, started: float, log: Log
) -> Iterator[dict[str, float] | None]:
    """Makes an artifact, see `artifact.making`; exits as `exit_on_job_error` does.

    At the end, `log` receives that the directory was complete already, if it was.
    """
    with (
        exit_on_job_error(),
        artifact.making(directory, config, started=started) as figures,
    ):
        yield figures
        if figures is None:
            log("already complete")


@contextlib.contextmanager
def _exit_on(*errors: type[Exception]) -> Iterator[None]:
    try:
        yield
    except errors as error:
        sys.exit(f"error: {' '.join(str(error).split())}")


def check_no_arguments(argv: Sequence[str]) -> None:
    """Raises ValueError if the command line has more than flags."""
    if len(argv) > 1:
        raise ValueError(f"expected flags only, got {' '.join(argv[1:])!r}")


def log(line: str) -> None:
    """Prints a line at once, also into a pipe.

    If it cannot be printed, the work goes on, and `run` says so at the end.
    """
    streams.show(line)


def can_print() -> bool:
    """Whether all lines so far were printed: else more results are of no use."""
    return streams.failure() is None


def log_for(directory: str, *, is_first: bool = True) -> Log:
    """Returns a `log` that prefixes lines with the last two names of a directory.

    Only the first process of a run prints.
    """
    if not is_first:
        return lambda line: None
    name = short_name(directory)
    return lambda line: log(f"{name}: {line}")


def short_name(directory: str | os.PathLike[str]) -> str:
    """Returns the last two names of a directory, as lines of its run begin."""
    return "/".join(os.fspath(directory).rstrip("/").split("/")[-2:])
