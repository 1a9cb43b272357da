"""Measures the writing job beside what Beam itself writes TFRecords with.

  python -m benchmarks.writing

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

import json
import pathlib
import tempfile
from collections.abc import Sequence

from absl import flags

from benchmarks.measuring.turns import take_turns
from benchmarks.writing import goals, inputs, runs
from benchmarks.writing.runs import OURS, WAYS, Run
from stage import cli

#: Records of an output file, about as many as the job would put there.
RECORDS_PER_SHARD = 4096
#: Of the run that memory is compared with.
SMALL_SHARE = 1 / 10
_IMAGES = flags.DEFINE_integer("images", 100_000, "To write.", lower_bound=100)
_BYTES = flags.DEFINE_integer("bytes", 12_000, "Of each image.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Turns of each way.", lower_bound=1)
_WAYS = flags.DEFINE_list("ways", list(WAYS), f"Of {', '.join(WAYS)}.")


def main(argv: Sequence[str]) -> None:
    """Measures and prints."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        for way in _WAYS.value:
            if way not in WAYS:
                raise ValueError(f"--ways: expected {', '.join(WAYS)}, got {way!r}")
    cli.load_tensorflow()
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        small = _measure(root / "small", round(SMALL_SHARE * _IMAGES.value), [OURS])
        rounds = _measure(root / "all", _IMAGES.value, [OURS, *_WAYS.value])
    verdicts = list(goals.judge(rounds, small[OURS]))
    for line in goals.tell(rounds, verdicts):
        cli.log(line)
    cli.log(json.dumps(goals.figures(rounds, verdicts)))


def _measure(
    root: pathlib.Path, num_images: int, ways: Sequence[str]
) -> dict[str, list[Run]]:
    made = inputs.make_inputs(root, num_images, _BYTES.value)
    num_shards = max(4, num_images // RECORDS_PER_SHARD)

    def measure(way: str) -> Run:
        run = runs.measure(way, made, num_shards=num_shards)
        cli.log(f"{num_images:,} images, {way}: {goals.row(run)}")
        return run

    named = {way: way for way in ways}
    return take_turns(named, measure, rounds=_ROUNDS.value)


if __name__ == "__main__":
    cli.run(main)
