"""Goals of the writing job."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.measuring.goals import Verdict, at_least, at_most
from benchmarks.measuring.turns import Rounds
from benchmarks.writing.runs import MEMORY, OURS, SPEED, SPEED_WITH_START, STOCK


def verdicts(rounds: Rounds[str], small: Rounds[str]) -> Iterator[Verdict]:
    """Yields the verdicts; `small` is ours with a tenth of the images.

    Speed is compared with the faster of the stock ways, memory with the smaller.
    """
    fastest = rounds.best(STOCK, SPEED)
    smallest = rounds.best(STOCK, MEMORY, lowest=True)
    if fastest is not None and smallest is not None:
        yield at_least("ratio_to_stock", rounds.ratio(OURS, fastest, SPEED), 2.0)
        with_start = rounds.ratio(OURS, fastest, SPEED_WITH_START)
        yield at_least("ratio_with_start", with_start, 2.0)
        memory = rounds.ratio(OURS, smallest, MEMORY)
        yield at_most("memory_ratio_to_stock", memory, 0.2)
    growth = rounds.median(OURS, MEMORY) / small.median(OURS, MEMORY)
    yield at_most("memory_ratio_10x", growth, 1.1)
