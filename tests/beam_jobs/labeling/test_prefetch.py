import threading

import pytest

from beam_jobs.labeling.prefetch import prefetch


@pytest.mark.parametrize("count", [0, 1, 5])
def test_all_items_come_in_order(count):
    assert list(prefetch(iter(range(count)))) == list(range(count))


def test_the_next_item_is_computed_while_one_is_in_use():
    computed = [threading.Event() for _ in range(3)]

    def items():
        for number, event in enumerate(computed):
            event.set()
            yield number

    for number in prefetch(items()):
        assert all(event.wait(60) for event in computed[: number + 2])


def test_no_more_than_one_item_is_computed_ahead():
    made = []
    for number in prefetch(made.append(n) or n for n in range(9)):
        assert len(made) <= number + 2


def test_an_error_comes_after_the_items_before_it():
    def items():
        yield 1
        raise OSError("broken")

    found = prefetch(items())
    assert next(found) == 1
    with pytest.raises(OSError, match="broken"):
        next(found)
