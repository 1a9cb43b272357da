"""Compares the writing job with Beam's own TFRecord sink.

  python -m benchmarks.writing

Images of 12 kB in TFRecords, a thousand to a file, are selected, nearly all of them,
and written again with their labels. Each way is a command of its own, and its memory is
that of all its processes together:

* `ours`: `beam_jobs.write_records`, which decides itself how many processes work.
* `ours_processes`: the same with a process per core.
* `stock`: the same images, read and made into the same records by the same code, then
  `beam.io.WriteToTFRecord(num_shards=...)`, in one process.
* `stock_processes`: the same with a process per core.

All ways have a turn in each round; figures and ratios are medians over the rounds.
Speeds are from the pipeline's start to the command's end; `start` is the time before,
mostly imports. Speed is compared with the faster of the stock ways, with and without
the start, memory with the smaller one. Memory of ours is also compared with that of a
tenth of the images. The last line is all figures as JSON.
"""

from __future__ import annotations

import json
import pathlib
import tempfile
from collections.abc import Sequence

from benchmarks.measuring import peers
from benchmarks.measuring.goals import as_json, log_tables
from benchmarks.measuring.turns import Figures, Rounds, format_row, take_turns
from benchmarks.writing import goals, inputs, runs
from benchmarks.writing.runs import MEMORY, OURS, SPEED, SPEED_WITH_START, WAYS
from stage import cli
from stage.flags import CommandFlags

#: Records per output file, about as many as by the job's default.
RECORDS_PER_SHARD = 4096
#: Share of the images in the run that memory is compared with.
SMALL_SHARE = 1 / 10
FLAGS = CommandFlags()
_IMAGES = FLAGS.integer("images", 100_000, "Number of images.", lower_bound=100)
_BYTES = FLAGS.integer("bytes", 12_000, "Size of each image.", lower_bound=1)
_ROUNDS = FLAGS.integer("rounds", 3, "Number of turns of each way.", lower_bound=1)
_WAYS = FLAGS.string("ways", ",".join(WAYS), "Ways, separated by commas.")


def main(argv: Sequence[str]) -> None:
    """Measures and prints."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        ways = peers.split_names("ways", _WAYS.value, WAYS)
    cli.load_tensorflow()
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        small = _measure(root / "small", round(SMALL_SHARE * _IMAGES.value), [OURS])
        rounds = _measure(root / "all", _IMAGES.value, [OURS, *ways])
    verdicts = list(goals.verdicts(rounds, small))
    cli.log("")
    log_tables(rounds, verdicts)
    names = (SPEED, SPEED_WITH_START, "start_seconds", MEMORY)
    figures = {name: rounds.medians(name) for name in names}
    every = {
        way: [[round(figure, 3) for figure in turn.values()] for turn in turns]
        for way, turns in rounds.turns.items()
    }
    cli.log(json.dumps({**figures, "rounds": every, **as_json(verdicts)}))


def _measure(root: pathlib.Path, num_images: int, ways: Sequence[str]) -> Rounds[str]:
    made = inputs.make_inputs(root, num_images, _BYTES.value)
    num_shards = max(4, num_images // RECORDS_PER_SHARD)

    def measure(way: str) -> Figures:
        figures = runs.measure(way, made, num_shards=num_shards)
        cli.log(format_row(f"{way}, {num_images:,} images", figures))
        return figures

    return take_turns(ways, measure, rounds=_ROUNDS.value)


if __name__ == "__main__":
    cli.run(main, FLAGS)
