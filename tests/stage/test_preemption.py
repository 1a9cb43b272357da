import signal
import subprocess
import sys

from stage import preemption
from tests.commands import ROOT

#: In a process of its own: pytest's workers may end at the signal.
PROGRAM = """
import os, signal
from stage import preemption

before = signal.getsignal(signal.SIGTERM)
with preemption.watched(is_alone=True) as notice:
    assert not notice.given
    os.kill(os.getpid(), signal.SIGTERM)
    assert notice.given
    assert notice.error(7).status == 75
assert signal.getsignal(signal.SIGTERM) == before

with preemption.watched(is_alone=True) as notice:
    os.kill(os.getpid(), signal.SIGINT)
    assert notice.given
    assert notice.error(7).status == 130
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        print("ended")
"""


def test_sigterm_and_ctrl_c_give_notice_while_the_block_runs():
    command = [sys.executable, "-c", PROGRAM]
    ended = subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert ended.stdout == b"ended\n"
    assert ended.stderr.count(b"\n") == 1


def test_sigterm_is_left_to_jax_where_there_are_several_processes():
    before = signal.getsignal(signal.SIGTERM)
    with preemption.watched(is_alone=False) as notice:
        assert signal.getsignal(signal.SIGTERM) == before
    assert not notice.given
