"""Compares Parquet files with TFRecords of the same images, and times a CSV file.

  python -m benchmarks.sources

Images of 2 kB, a thousand to a row group and ten thousand to a file. Each turn is a
process that lists a source and reads it in the batches in which labeling does, without
decoding. All ways have a turn in each round; figures and ratios are medians over the
rounds. Memory of reading Parquet files is compared with that of a tenth of the rows. A
CSV file of as many paths and labels is listed, which asks for the size and time of each
file. The last line is all figures as JSON.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from benchmarks.measuring.goals import Verdict, as_json, log_tables
from benchmarks.measuring.turns import Figures, format_row, take_turns
from benchmarks.sources import inputs
from stage import cli
from stage.flags import CommandFlags

FLAGS = CommandFlags()
_IMAGES = FLAGS.integer("images", 1_000_000, "Number of images.", lower_bound=10)
_BYTES = FLAGS.integer("bytes", 2_000, "Size of each image.", lower_bound=8)
_ROUNDS = FLAGS.integer("rounds", 3, "Number of turns of each way.", lower_bound=1)
_FORMS = ("tfrecord", "parquet")


def main(argv: Sequence[str]) -> None:
    """Measures and prints."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
    cli.load_tensorflow()
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        for name, count in (("small", _IMAGES.value // 10), ("all", _IMAGES.value)):
            inputs.write_both(root / name, count, _BYTES.value)
        small = _measure(f"parquet:{root}/small/*.parquet")
        rounds = take_turns(
            _FORMS,
            lambda form: _measure(f"{form}:{root}/all/*.{form}"),
            rounds=_ROUNDS.value,
        )
        (root / "files").mkdir()
        path = inputs.write_list(root / "files", _IMAGES.value)
        listing = _measure(f"csv:{path}", "--noread")
    memory = rounds.median("parquet", "MB") / small["MB"]
    verdicts = [
        Verdict(
            "parquet / tfrecord images/s",
            rounds.ratio("parquet", "tfrecord", "images/s"),
            at_least=0.9,
        ),
        Verdict("memory at ten times the rows", memory, at_most=1.1),
        Verdict("csv listing GB", listing["listing MB"] / 1024, at_most=4),
    ]
    log_tables(rounds, verdicts)
    cli.log(format_row("csv", listing))
    figures = {form: rounds.all(form) for form in ("images/s", "listing s", "MB")}
    cli.log(
        json.dumps({**as_json(verdicts), **figures, "csv": listing, "small": small})
    )


def _measure(spec: str, *more: str) -> Figures:
    """Returns the figures of a process of its own."""
    command = ["-m", "benchmarks.sources.measure", f"--images={spec}", *more]
    process = subprocess.run(
        [sys.executable, *command], check=True, stdout=subprocess.PIPE, text=True
    )
    figures: Figures = json.loads(process.stdout.splitlines()[-1])
    return figures


if __name__ == "__main__":
    cli.run(main, FLAGS)
