from benchmarks.measuring.turns import take_turns


def test_in_every_round_each_has_its_turn():
    order = []

    def measure(way):
        order.append(way)
        return len(order)

    figures = take_turns({"ours": "a", "peer": "b"}, measure, rounds=3)
    assert order == ["a", "b"] * 3
    assert figures == {"ours": [1, 3, 5], "peer": [2, 4, 6]}
