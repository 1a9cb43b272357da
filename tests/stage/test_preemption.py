import os
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

try:
    with preemption.watched(is_alone=True):
        os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("nothing to save")

with preemption.watched(is_alone=True) as notice:
    notice.has_work = True
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
    assert ended.stdout == b"nothing to save\nended\n"
    assert ended.stderr.count(b"\n") == 1


def test_ctrl_c_while_a_command_is_imported(tmp_path):
    """Dataclasses are imported by every command, and later than the handler is set."""
    (tmp_path / "dataclasses.py").write_text("import signal\nsignal.raise_signal(2)")
    for module in ("teacher.train", "student.train", "beam_jobs.label_images"):
        ended = subprocess.run(
            [sys.executable, "-m", module],
            env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
            cwd=ROOT,
            capture_output=True,
        )
        assert ended.returncode == 130
        assert ended.stderr.count(b"\n") == 1


def test_sigterm_is_left_to_jax_where_there_are_several_processes():
    before = signal.getsignal(signal.SIGTERM)
    with preemption.watched(is_alone=False) as notice:
        assert signal.getsignal(signal.SIGTERM) == before
    assert not notice.given
