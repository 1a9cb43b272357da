from benchmarks.measuring.goals import Verdict
from benchmarks.measuring.turns import Rounds
from benchmarks.writing import goals
from benchmarks.writing.runs import MEMORY, SPEED, SPEED_WITH_START


def turns(*figures):
    return [
        dict(zip((SPEED, MEMORY, SPEED_WITH_START), f, strict=True)) for f in figures
    ]


SMALL = Rounds({"ours": turns((10.0, 0.48, 5.0))})


def test_verdicts_are_beside_the_better_of_stock():
    ours = turns((100.0, 0.5, 38.0), (90.0, 0.51, 38.0), (110.0, 0.49, 38.0))
    stock = turns((40.0, 6.0, 20.0), (45.0, 6.0, 22.5), (50.0, 6.0, 25.0))
    in_processes = turns(*[(30.0, 9.0, 15.0)] * 3)
    rounds = Rounds({"ours": ours, "stock": stock, "stock_processes": in_processes})
    assert list(goals.verdicts(rounds, SMALL)) == [
        Verdict("ratio_to_stock", 2.2, at_least=2.0),
        Verdict("ratio_with_start", 1.689, at_least=2.0),
        Verdict("memory_ratio_to_stock", 0.083, at_most=0.2),
        Verdict("memory_ratio_10x", 1.042, at_most=1.1),
    ]


def test_without_stock_only_memory_has_a_goal():
    rounds = Rounds({"ours": turns((100.0, 0.5, 38.0))})
    (verdict,) = goals.verdicts(rounds, SMALL)
    assert verdict == Verdict("memory_ratio_10x", 1.042, at_most=1.1)
