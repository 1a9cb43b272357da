"""Goals of the writing job."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.measuring.goals import Verdict
from benchmarks.measuring.turns import Rounds
from benchmarks.writing.runs import MEMORY, OURS, SPEED, SPEED_WITH_START, STOCK


def verdicts(rounds: Rounds[str], small: Rounds[str]) -> Iterator[Verdict]:
    """Yields the verdicts; `small` is ours with a tenth of the images.

    Speed is compared with the faster of the stock ways, memory with the smaller.
    """
    fastest = rounds.best(STOCK, SPEED)
    smallest = rounds.best(STOCK, MEMORY, lowest=True)
    if fastest is not None and smallest is not None:
        speed_ratio = rounds.ratio(OURS, fastest, SPEED)
        yield Verdict("ratio_to_stock", speed_ratio, at_least=2.0)
        with_start = rounds.ratio(OURS, fastest, SPEED_WITH_START)
        yield Verdict("ratio_with_start", with_start, at_least=2.0)
        memory = rounds.ratio(OURS, smallest, MEMORY)
        yield Verdict("memory_ratio_to_stock", memory, at_most=0.2)
    growth = rounds.median(OURS, MEMORY) / small.median(OURS, MEMORY)
    yield Verdict("memory_ratio_10x", growth, at_most=1.1)
