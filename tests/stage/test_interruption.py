import signal
import threading

import pytest

from stage import interruption
from stage.interruption import announce, on_interrupt, run_callbacks


@pytest.fixture(autouse=True)
def is_first_time(monkeypatch):
    monkeypatch.setattr(interruption, "_were_called", False)
    monkeypatch.setattr(interruption, "_announced", None)
    monkeypatch.setattr(interruption, "_listeners", [])


def test_callbacks_of_blocks_that_run_are_called_once():
    called = []
    with on_interrupt(lambda _: called.append("outer")):
        with on_interrupt(lambda _: called.append("inner")):
            pass
        assert run_callbacks(signal.SIGINT) is None
        assert run_callbacks(signal.SIGINT) is None
    assert called == ["outer"]


def test_the_newest_line_is_printed_without_control_characters():
    with (
        on_interrupt(lambda _: "older"),
        on_interrupt(lambda _: "the job\x1b goes on"),
        on_interrupt(lambda _: None),
    ):
        assert run_callbacks(signal.SIGINT) == "the job\\x1b goes on"


def test_a_callback_that_fails_or_hangs_is_left_behind():
    is_over = threading.Event()

    def hang(_):
        is_over.wait()
        return "late"

    def fail(_):
        raise RuntimeError

    with on_interrupt(hang, seconds=0.01), on_interrupt(fail):
        assert interruption.interrupt_seconds() == pytest.approx(5.01)
        assert run_callbacks(signal.SIGINT) is None
    is_over.set()
    assert not interruption._callbacks


def test_callbacks_receive_the_signal():
    received = []
    with on_interrupt(received.append):
        run_callbacks(signal.SIGTERM)
    assert received == [signal.SIGTERM]


def test_what_is_announced_is_the_line_until_the_callback_returns():
    is_over = threading.Event()
    announced = []

    def hang(_):
        announce("not yet\x1b")
        is_over.wait()

    with on_interrupt(hang, seconds=0.01):
        line = run_callbacks(signal.SIGINT, on_announced=announced.append)
        assert line == run_callbacks(signal.SIGINT) == "not yet\\x1b"
    is_over.set()
    assert announced == ["not yet\\x1b"]


def test_a_line_that_is_returned_replaces_what_was_announced():
    with on_interrupt(lambda _: announce("not yet") or "done"):
        assert run_callbacks(signal.SIGINT) == "done"
