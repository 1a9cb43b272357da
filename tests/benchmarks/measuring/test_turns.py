import itertools

import pytest

from benchmarks.measuring.turns import Rounds, format_row, repeat, take_turns


def turns(*speeds):
    return [{"speed": speed, "gb": 2 * speed} for speed in speeds]


def test_every_way_has_one_turn_per_round():
    order = []

    def measure(way):
        order.append(way)
        return {"speed": len(order)}

    rounds = take_turns(["ours", "peer"], measure, rounds=3)
    assert order == ["ours", "peer"] * 3
    assert rounds.all("speed") == {"ours": [1, 3, 5], "peer": [2, 4, 6]}


def test_medians_and_ratios_are_over_the_rounds():
    rounds = Rounds({"ours": turns(90, 100, 60), "peer": turns(100, 50, 60)})
    assert rounds.median("ours", "speed") == 90
    assert rounds.medians("gb") == {"ours": 180, "peer": 120}
    # 0.9, 2 and 1: neither the ratio of the medians nor the mean of the ratios.
    assert rounds.ratio("ours", "peer", "speed") == 1
    assert rounds.ratio("peer", "ours", "speed") == 1


def test_the_median_decides_which_way_is_the_fastest():
    rounds = Rounds({"slow": turns(99, 95, 500), "fast": turns(100, 100, 50)})
    assert rounds.best(["slow", "missing", "fast"], "speed") == "fast"
    assert rounds.best(["slow", "missing", "fast"], "speed", lowest=True) == "slow"
    assert rounds.best(["missing"], "speed") is None
    assert rounds.best([], "speed", lowest=True) is None


def test_the_table_has_a_row_for_each_way():
    rounds = Rounds({"ours": turns(16535.21), "peer": turns(0.041)})
    header, ours, peer = rounds.table()
    assert header.split() == ["speed", "gb"]
    assert ours.split() == ["ours", "16,535", "33,070"]
    assert peer.split() == ["peer", "0.041", "0.082"]
    assert len(header) == len(ours) == len(peer)
    assert format_row("peer", rounds.turns["peer"][0]) == peer


@pytest.mark.parametrize(("seconds", "calls"), [(0.0, 1), (0.9, 4), (1.0, 4)])
def test_a_step_is_repeated_at_least_once(seconds, calls):
    ticks = itertools.count(0.0, 0.25)
    done = []
    found = repeat(lambda: done.append(1), seconds=seconds, clock=lambda: next(ticks))
    assert found == (calls, 0.25 * calls)
    assert len(done) == calls
