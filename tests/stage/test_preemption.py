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
assert signal.getsignal(signal.SIGTERM) == before
"""


def test_sigterm_gives_notice_while_the_block_runs():
    subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, check=True)


def test_sigterm_is_left_to_jax_where_there_are_several_processes():
    before = signal.getsignal(signal.SIGTERM)
    with preemption.watched(is_alone=False) as notice:
        assert signal.getsignal(signal.SIGTERM) == before
    assert not notice.given
