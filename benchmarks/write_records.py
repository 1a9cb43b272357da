"""Measures the writing job beside what Beam itself writes TFRecords with.

  python -m benchmarks.write_records

Images of 12 kB in TFRecords, a thousand to a file, are selected, nearly all of them,
and written once more with their labels. Each way is a command of its own; its memory is
that of all its processes together:

* `ours`: `beam_jobs.write_records` as it is called; it decides how many processes work.
* `ours_processes`: the same with a process for each core.
* `stock`: the same images, read and made into the same records by the same code, then
  `beam.io.WriteToTFRecord(num_shards=...)`, in one process.
* `stock_processes`: the same with a process for each core.

They take turns for several rounds; a figure is the median over the rounds, also the
ratio. Speeds are from the begin of the pipeline to the command's end; `start` is what
comes before, imports for the most part. Speed is compared with the faster of the stock
ways, with and without the start, memory with the smaller one. Memory of ours is also
compared with that of a tenth of the images. The last line is all figures as JSON.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from absl import flags

from benchmarks import writing_inputs as inputs
from benchmarks import writing_runs as runs
from benchmarks.turns import take_turns
from benchmarks.writing_runs import OURS, STOCK, WAYS, Run
from classifier import command

#: Records of an output file, about as many as the job would put there.
RECORDS_PER_SHARD = 4096
#: Of the run that memory is compared with.
SMALL_SHARE = 1 / 10
_IMAGES = flags.DEFINE_integer("images", 100_000, "To write.", lower_bound=100)
_BYTES = flags.DEFINE_integer("bytes", 12_000, "Of each image.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Turns of each way.", lower_bound=1)
_WAYS = flags.DEFINE_list("ways", list(WAYS), f"Of {', '.join(WAYS)}.")


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A figure beside its goal.

    Attributes:
        name: Of the figure.
        figure: What was reached.
        goal: What was to be reached.
        is_least: Whether the goal is the least that will do, or the most.
    """

    name: str
    figure: float
    goal: float
    is_least: bool

    def line(self) -> str:
        """Returns a row of a table."""
        sign = ">=" if self.is_least else "<="
        is_met = self.figure >= self.goal if self.is_least else self.figure <= self.goal
        answer = "yes" if is_met else "no"
        return f"{self.name:24}{self.figure:8.3f}   {sign} {self.goal:<6g} {answer}"


def main(argv: Sequence[str]) -> None:
    """Measures and prints."""
    with command.refusing_bad_input():
        command.refuse_arguments(argv)
        for way in _WAYS.value:
            if way not in WAYS:
                raise ValueError(f"--ways: expected {', '.join(WAYS)}, got {way!r}")
    command.load_tensorflow()
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        small = _measure(root / "small", round(SMALL_SHARE * _IMAGES.value), [OURS])
        rounds = _measure(root / "all", _IMAGES.value, [OURS, *_WAYS.value])
    verdicts = list(judge(rounds, small[OURS]))
    for line in tell(rounds, verdicts):
        command.say(line)
    command.say(json.dumps(figures(rounds, verdicts)))


def judge(
    rounds: Mapping[str, Sequence[Run]], small: Sequence[Run]
) -> Iterator[Verdict]:
    """Yields the verdicts on what was measured.

    Args:
        rounds: By way, turn by turn.
        small: Ours, with fewer images.
    """
    ours, stock = rounds[OURS], [rounds[way] for way in STOCK if way in rounds]
    if stock:
        fastest = max(stock, key=lambda turns: _median(turns).images_per_second)
        leanest = min(stock, key=lambda turns: _median(turns).megabytes)
        speed, whole = (
            statistics.median(
                getattr(one, figure) / getattr(other, figure)
                for one, other in zip(ours, fastest, strict=True)
            )
            for figure in ("images_per_second", "with_start")
        )
        memory = statistics.median(
            one.megabytes / other.megabytes
            for one, other in zip(ours, leanest, strict=True)
        )
        yield Verdict("ratio_to_stock", round(speed, 3), 2.0, is_least=True)
        yield Verdict("ratio_with_start", round(whole, 3), 2.0, is_least=True)
        yield Verdict("memory_ratio_to_stock", round(memory, 3), 0.2, is_least=False)
    growth = _median(ours).megabytes / _median(small).megabytes
    yield Verdict("memory_ratio_10x", round(growth, 3), 1.1, is_least=False)


def tell(
    rounds: Mapping[str, Sequence[Run]], verdicts: Sequence[Verdict]
) -> Iterator[str]:
    """Yields what was measured as tables."""
    yield f"\n{'':18}{'images/s':>10}{'start s':>9}{'MB':>10}{'with start':>12}"
    for way, turns in rounds.items():
        yield f"{way:18}{_row(_median(turns))}"
    yield f"\n{'':24}{'reached':>8}   goal      met"
    for verdict in verdicts:
        yield verdict.line()


def figures(
    rounds: Mapping[str, Sequence[Run]], verdicts: Sequence[Verdict]
) -> dict[str, Any]:
    """Returns everything, for programs."""
    medians = {way: _median(turns) for way, turns in rounds.items()}
    return {
        "images_per_second": {w: round(m[0], 1) for w, m in medians.items()},
        "images_per_second_with_start": {w: round(m[3], 1) for w, m in medians.items()},
        "start_seconds": {w: round(m[1], 1) for w, m in medians.items()},
        "peak_memory_gb": {w: round(m[2] / 1000, 3) for w, m in medians.items()},
        "rounds": {
            way: [[round(figure, 1) for figure in run] for run in turns]
            for way, turns in rounds.items()
        },
        **{verdict.name: verdict.figure for verdict in verdicts},
    }


def _measure(
    root: pathlib.Path, num_images: int, ways: Sequence[str]
) -> dict[str, list[Run]]:
    made = inputs.make_inputs(root, num_images, _BYTES.value)
    num_shards = max(4, num_images // RECORDS_PER_SHARD)

    def measure(way: str) -> Run:
        run = runs.measure(way, made, num_shards=num_shards)
        command.say(f"{num_images:,} images, {way}: {_row(run)}")
        return run

    named = {way: way for way in ways}
    return take_turns(named, measure, rounds=_ROUNDS.value)


def _median(turns: Sequence[Run]) -> Run:
    return Run(*map(statistics.median, zip(*turns, strict=True)))


def _row(run: Run) -> str:
    speed, start, megabytes, whole = run
    return f"{speed:10.1f}{start:9.1f}{megabytes:10.0f}{whole:12.1f}"


if __name__ == "__main__":
    command.run(main)
