"""Programs whose standard streams are closed, full, or without a reader."""

import contextlib
import errno
import os
import subprocess
import sys

import pytest

from stage import streams
from tests.commands import ENVIRONMENT, ROOT

WORK = """
import contextlib, os, sys
from stage import cli
from stage.flags import CommandFlags
def main(argv):
    with open(argv[1], "w") as file:
        for step in range(3):
            cli.log(f"step {step}")
            with contextlib.suppress(OSError):
                os.write(1, b"from a library")
                os.write(2, b"from a library")
        file.write("done")
    cli.log("the last line")
    sys.exit(0)
cli.run(main, CommandFlags())
"""


def run(place, redirection, program=WORK, **more):
    """Runs a program in a shell; returns its status, and what it said."""
    done = place / "done"
    command = f'"{sys.executable}" -c "$PROGRAM" "{done}" {redirection}'
    with contextlib.suppress(FileNotFoundError):
        done.unlink()
    ended = subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        env={**ENVIRONMENT, "PROGRAM": program, **more},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.read_text() == "done"
    return ended.returncode, ended.stderr.replace("from a library", "")


@pytest.mark.parametrize("redirection", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_may_be_closed(tmp_path, redirection):
    assert run(tmp_path, redirection) == (0, "")


def test_what_nobody_reads_is_no_error_to_speak_of(tmp_path):
    status, errors = run(tmp_path, "| head -c 0; exit ${PIPESTATUS[0]}")
    assert (status, errors) == (141, "")


def test_what_cannot_be_printed_is_said_once(tmp_path):
    status, errors = run(tmp_path, ">/dev/full")
    assert status == 1
    (line,) = errors.splitlines()
    assert line.startswith("error: ")
    assert os.strerror(errno.ENOSPC) in line


def test_stderr_may_be_full(tmp_path):
    assert run(tmp_path, "2>/dev/full") == (0, "")


def test_a_failure_keeps_its_status(tmp_path):
    program = WORK.replace("sys.exit(0)", "sys.exit(3)")
    status, errors = run(tmp_path, ">/dev/full", program)
    assert (status, errors) == (3, "")


def test_characters_that_the_terminal_lacks_are_escaped(tmp_path):
    program = WORK.replace("the last line", "caf\\u00e9")
    assert run(tmp_path, "", program, PYTHONIOENCODING="ascii") == (0, "")


def test_styled_lines_are_printed_as_they_are(capsys):
    streams.show("\x1b[32mdone\x1b[0m")
    streams.show("\x1b[32mdone\x1b[0m", is_styled=True)
    assert capsys.readouterr().out == "\\x1b[32mdone\\x1b[0m\n\x1b[32mdone\x1b[0m\n"
