import threading

from stage import interruption, preemption
from stage.interruption import call_back, on_interrupt

USUAL = f"interrupted; {preemption.RESUMABLE}\n"


def test_callbacks_of_blocks_that_run_are_called():
    called = []
    with on_interrupt(lambda: called.append("outer")):
        with on_interrupt(lambda: called.append("inner")):
            pass
        assert call_back() == USUAL
    assert called == ["outer"]
    assert call_back() == USUAL
    assert called == ["outer"]


def test_a_callback_may_say_something_else_or_nothing():
    with on_interrupt(lambda: "the job goes on"):
        assert call_back() == "the job goes on\n"
        with on_interrupt(lambda: None):
            assert call_back() == "the job goes on\n"
    with on_interrupt(lambda: ""):
        assert call_back() == ""


def test_a_callback_that_fails_or_hangs_is_left_behind():
    is_over = threading.Event()

    def hang():
        is_over.wait()
        return "late"

    def fail():
        raise RuntimeError

    with on_interrupt(hang, seconds=0.01), on_interrupt(fail):
        assert call_back() == USUAL
    is_over.set()
    assert not interruption._callbacks
