"""Compares the selection job with its peers.

  python -m benchmarks.selection
  python -m benchmarks.selection --rows=130000000 --rounds=1

Predictions lie in Parquet files, as the labeling job leaves them. Class frequencies
follow Zipf's law, many confidences are just below 1, and the same number of images is
wanted of each class. Each way runs in processes of its own and may use all cores:

* `ours`: the command `beam_jobs.select_labels`, its start included.
* `duckdb`, `duckdb_with_key`: DuckDB's window query, by confidence and the key's hash,
  or then by the key as in ours. The faster is compared.
* `top`, `top_processes`: Beam's Top.LargestPerKey on the local runner, in one process
  or in one per core. The faster is compared. It gets `--top_rows` only, and the ratio
  is of seconds per row, though with all rows its heaps would be larger.
* `scan`: Arrow reads label, confidence and the key's hash, and nothing else.

All ways must find the same cut-offs, otherwise the benchmark fails. All have a turn in
each round; figures and ratios are medians over the rounds. Memory is the peak of all
processes of a way together. The start is the time for 10,000 rows. Peers that are not
installed are left out; DuckDB comes with the extra `bench`.

130 million predictions are 4 GB per number of classes, made in two minutes;
`--data_dir` keeps them. The last line is all figures as JSON.
"""

from __future__ import annotations

import json
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

from benchmarks.measuring import peers
from benchmarks.measuring.counts import parse_counts
from benchmarks.measuring.goals import as_json, log_tables
from benchmarks.measuring.turns import Figures, Rounds, format_row, take_turns
from benchmarks.selection import goals, inputs, runs
from benchmarks.selection.goals import RowCounts, SelectionCase
from benchmarks.selection.task import PEERS, CutOff, SelectionTask
from stage import artifact, cli
from stage.flags import CommandFlags

FLAGS = CommandFlags()
_ROWS = FLAGS.integer(
    "rows", 10_000_000, "Number of predictions.", lower_bound=10 * goals.START_ROWS
)
_TOP_ROWS = FLAGS.integer(
    "top_rows",
    1_000_000,
    "Number of predictions for Beam's Top.",
    lower_bound=goals.START_ROWS,
)
_CLASSES = FLAGS.string(
    "classes", "1000,20000", "Numbers of classes with commas between, a table for each."
)
_ROUNDS = FLAGS.integer("rounds", 3, "Number of turns of each way.", lower_bound=1)
_DATA_DIR = FLAGS.string(
    "data_dir", None, "Directory that keeps the predictions; not kept if not given."
)


def main(argv: Sequence[str]) -> None:
    """Measures and prints."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        numbers = parse_counts("--classes", _CLASSES.value)
        artifact.check_directory(_DATA_DIR.value or ".")
    ways = peers.installed({way: (package,) for way, (_, package) in PEERS.items()})
    counts = RowCounts(_ROWS.value, min(_ROWS.value, _TOP_ROWS.value))
    figures: dict[str, Any] = counts._asdict()
    with tempfile.TemporaryDirectory() as temporary:
        # The ways run in the repository's root, wherever this command does.
        directory = pathlib.Path(_DATA_DIR.value or temporary).absolute()
        for classes in numbers:
            rounds = _measure(directory, counts, classes, ways)
            share = _share(counts.rows, classes)
            cli.log(f"\n{classes:,} classes, {share:,} images of each")
            figures[f"classes_{classes}"] = _report(counts, rounds)
    cli.log(json.dumps(figures))


def _share(rows: int, classes: int) -> int:
    """Returns the number of images to select of each class."""
    return max(1, rows // classes)


def _measure(
    directory: pathlib.Path, counts: RowCounts, classes: int, ways: Sequence[str]
) -> Rounds[SelectionCase]:
    """Returns the figures of every way, checking that the cut-offs are equal."""
    cases = counts.cases(ways)
    paths = {
        rows: inputs.open_inputs(directory, rows=rows, classes=classes)
        for rows in {case.rows for case in cases}
    }
    for path in paths.values():
        inputs.keep_in_memory(path)
    expected: dict[int, list[CutOff]] = {}

    def measure(case: SelectionCase) -> Figures:
        rows = case.rows
        figures, cut_offs = runs.measure(
            SelectionTask(case.way, str(paths[rows]), _share(rows, classes))
        )
        cli.log(format_row(case, figures))
        # Cases of ours come first.
        goals.check_equal(case, cut_offs, expected.setdefault(rows, cut_offs))
        return figures

    return take_turns(cases, measure, rounds=_ROUNDS.value)


def _report(counts: RowCounts, rounds: Rounds[SelectionCase]) -> dict[str, Any]:
    """Prints tables, and returns their figures."""
    verdicts = [
        goals.verdict(name, figure, rows=counts.rows)
        for name, figure in goals.figures(counts, rounds)
    ]
    log_tables(rounds, verdicts)
    cli.log("")
    figures = ("seconds", "cpu_seconds", "peak_gb")
    medians = [
        [*case, *(round(rounds.median(case, figure), 3) for figure in figures)]
        for case in rounds.turns
    ]
    return {**as_json(verdicts), "runs": medians}


if __name__ == "__main__":
    cli.run(main, FLAGS)
