"""Standard streams that may be closed, full, or without a reader.

What is printed tells about the work; failing to print must neither end the work nor
hide how it ended.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator

from stage.text import printable_lines

_NAMES = ("stdin", "stdout", "stderr")
#: Why nothing more can be printed to stdout.
_failure: OSError | None = None


def prepare() -> None:
    """Makes the standard streams of this process safe to use.

    Streams that the caller has closed are opened as `/dev/null`: the next file that is
    opened would get their number, and what libraries print would be written into it.
    Characters that the encoding of stdout lacks are escaped.
    """
    for number, name in enumerate(_NAMES):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            stream = os.fdopen(number, "w" if number else "r", closefd=False)
            setattr(sys, name, stream)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def show(line: str, *, is_styled: bool = False) -> None:
    """Prints a line to stdout at once, also into a pipe.

    If that fails, it and all that follows is dropped; see `failure`. A line that is
    styled has codes of colors, and no text from outside that is not `printable`.
    """
    with _noting_failure():
        sys.stdout.write((line if is_styled else printable_lines(line)) + "\n")
        sys.stdout.flush()


def warn(line: str) -> None:
    """Prints a line to stderr, if that is possible."""
    with contextlib.suppress(OSError):
        sys.stderr.write(printable_lines(line) + "\n")
        sys.stderr.flush()


def is_terminal() -> bool:
    """Whether stdout is a terminal."""
    return sys.stdout.isatty()


def flush() -> None:
    """Prints what is left to print to stdout and stderr, if that is possible."""
    with _noting_failure():
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        sys.stderr.flush()


def failure() -> OSError | None:
    """Returns why something could not be printed to stdout, or None."""
    return _failure


@contextlib.contextmanager
def _noting_failure() -> Iterator[None]:
    global _failure
    try:
        yield
    except OSError as error:
        _failure = _failure or error
        # What is left in buffers would fail again when the process ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
