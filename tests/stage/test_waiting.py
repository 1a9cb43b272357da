import threading

import pytest

from stage import waiting
from stage.waiting import StalledError, in_background


def never():
    return False


def test_items_come_in_order_each_when_it_is_asked_for():
    made = []

    def make():
        for number in range(5):
            made.append(number)
            yield number

    items = in_background(make(), should_stop=never)
    assert made == []
    assert next(items) == 0
    assert made == [0]
    assert list(items) == [1, 2, 3, 4]


def test_errors_are_raised_where_the_items_are_used():
    def make():
        yield 1
        raise FileNotFoundError("part-1")

    items = in_background(make(), should_stop=never)
    assert next(items) == 1
    with pytest.raises(FileNotFoundError, match="part-1"):
        next(items)


def test_an_item_is_awaited_until_none_is_wanted(monkeypatch):
    monkeypatch.setattr(waiting, "PATIENCE", 0.01)
    is_there, asked = threading.Event(), []

    def make():
        for number in range(2):
            is_there.wait()
            is_there.clear()
            yield number

    def should_stop():
        asked.append(True)
        if len(asked) == 3:
            is_there.set()
        return len(asked) > 5

    items = in_background(make(), should_stop=should_stop)
    assert next(items) == 0
    with pytest.raises(StalledError):
        next(items)
    is_there.set()


def test_the_thread_ends_with_the_iterator():
    before = set(threading.enumerate())
    items = in_background(range(3), should_stop=never)
    assert next(items) == 0
    (thread,) = set(threading.enumerate()) - before
    items.close()
    thread.join(10)
    assert not thread.is_alive()
