import threading

import pytest

from stage import interruption
from stage.interruption import on_interrupt, run_callbacks


@pytest.fixture(autouse=True)
def is_first_time(monkeypatch):
    monkeypatch.setattr(interruption, "_were_called", False)


def test_callbacks_of_blocks_that_run_are_called_once():
    called = []
    with on_interrupt(lambda: called.append("outer")):
        with on_interrupt(lambda: called.append("inner")):
            pass
        assert run_callbacks() is None
        assert run_callbacks() is None
    assert called == ["outer"]


def test_the_newest_line_is_printed_without_control_characters():
    with (
        on_interrupt(lambda: "older"),
        on_interrupt(lambda: "the job\x1b goes on"),
        on_interrupt(lambda: None),
    ):
        assert run_callbacks() == "the job\\x1b goes on"


def test_a_callback_that_fails_or_hangs_is_left_behind():
    is_over = threading.Event()

    def hang():
        is_over.wait()
        return "late"

    def fail():
        raise RuntimeError

    with on_interrupt(hang, seconds=0.01), on_interrupt(fail):
        assert interruption.interrupt_seconds() == pytest.approx(5.01)
        assert run_callbacks() is None
    is_over.set()
    assert not interruption._callbacks
