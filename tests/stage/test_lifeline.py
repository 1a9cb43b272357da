import signal
import subprocess
import sys

from stage import lifeline
from tests.commands import ENVIRONMENT, ROOT

#: Waits until it is told to end.
STAGE = """
import signal, sys
from stage import lifeline
lifeline.watch()
print("ready", flush=True)
signal.pause()
"""
#: Starts it, says its number, and waits.
PARENT = f"""
import os, subprocess, sys
from stage import lifeline
with lifeline.held() as (variables, descriptor):
    child = subprocess.Popen(
        [sys.executable, "-c", '''{STAGE}'''],
        env={{**os.environ, **variables}},
        pass_fds=[descriptor],
    )
    sys.stdin.read()
"""


def start(program, **more):
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**ENVIRONMENT, **more.pop("variables", {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **more,
    )


def test_a_process_ends_with_the_one_that_holds_its_lifeline():
    with start(PARENT) as parent:
        assert parent.stdout.readline() == "ready\n"
        parent.kill()
        # The pipe ends when the process that the parent has started has.
        assert parent.stdout.read() == ""


def test_it_gets_sigterm_when_the_block_ends():
    with lifeline.held() as (variables, descriptor):
        process = start(STAGE, variables=variables, pass_fds=[descriptor])
        assert process.stdout.readline() == "ready\n"
        assert process.poll() is None
    with process:
        assert process.wait(60) == -signal.SIGTERM


def test_without_a_lifeline_nothing_is_watched():
    program = "from stage import lifeline; lifeline.watch()"
    for value in ("", "x", "999"):
        variables = {"NOISY_STUDENT_LIFELINE": value}
        with start(program, variables=variables) as process:
            assert process.wait(60) == 0


def test_the_lifeline_is_not_passed_on():
    program = (
        "import os; from stage import lifeline; lifeline.watch(); "
        "print('NOISY_STUDENT_LIFELINE' in os.environ)"
    )
    with lifeline.held() as (variables, descriptor):
        options = {"variables": variables, "pass_fds": [descriptor]}
        with start(program, **options) as process:
            assert process.stdout.read() == "False\n"
