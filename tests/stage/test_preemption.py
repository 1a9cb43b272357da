import os
import signal

from stage import preemption


def test_sigterm_gives_notice_while_the_block_runs():
    before = signal.getsignal(signal.SIGTERM)
    with preemption.watched(is_alone=True) as notice:
        assert not notice.given
        os.kill(os.getpid(), signal.SIGTERM)
        assert notice.given
    assert signal.getsignal(signal.SIGTERM) == before


def test_jax_receives_it_where_there_are_several_processes():
    before = signal.getsignal(signal.SIGTERM)
    with preemption.watched(is_alone=False) as notice:
        assert signal.getsignal(signal.SIGTERM) == before
    assert not notice.given
