"""Measures the selection job beside everything it has to be faster than.

  python -m benchmarks.selection
  python -m benchmarks.selection --rows=130000000 --rounds=1

Predictions lie in Parquet files, as the labeling job leaves them: classes frequent as
Zipf has it, confidences crowded below 1, and of each class an even share is wanted, so
that a part of the classes has more and the others less. Each way runs in processes of
its own and may use all cores:

* `ours`: `beam_jobs.select_labels`, the command as it is, its start included.
* `duckdb`, `duckdb_with_key`: DuckDB's window query, by confidence and the key's hash,
  or by the key besides, as ours. The faster is the yardstick.
* `top`, `top_processes`: Beam's Top.LargestPerKey on the local runner, in one process
  or in one for each core. The faster is the yardstick. It gets `--top_rows` only, and
  the ratio is that of seconds per row, though with all rows its heaps were larger.
* `scan`: Arrow reads label, confidence and the key's hash, and that is all.

All have to find the same cut-offs, else the benchmark fails. They take turns for
several rounds; a figure is the median over the rounds, also the ratio. Memory is that
of all processes of a way together at its peak. The start is what a way takes for 10,000
rows. What is not installed is left out; DuckDB comes with the extra `bench`.

130 million predictions are 4 GB of files for each number of classes, made in two
minutes; `--data_dir` keeps them. The last line is all figures as JSON.
"""

from __future__ import annotations

import json
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

from absl import flags

from benchmarks.measuring.turns import take_turns
from benchmarks.selection import goals, inputs, peers, runs
from benchmarks.selection.goals import Case, Sizes, Table
from benchmarks.selection.runs import Run
from benchmarks.selection.task import Task
from stage import cli

_ROWS = flags.DEFINE_integer(
    "rows", 10_000_000, "Predictions.", lower_bound=10 * goals.START_ROWS
)
_TOP_ROWS = flags.DEFINE_integer(
    "top_rows", 1_000_000, "Of them, for Beam's Top.", lower_bound=goals.START_ROWS
)
_CLASSES = flags.DEFINE_list("classes", ["1000", "20000"], "A table for each number.")
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Turns of each way.", lower_bound=1)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where the predictions are kept for the next time, if anywhere."
)


def main(argv: Sequence[str]) -> None:
    """Measures and prints."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        numbers = [_positive("classes", text) for text in _CLASSES.value]
    ways = peers.installed()
    sizes = Sizes(_ROWS.value, min(_ROWS.value, _TOP_ROWS.value))
    figures: dict[str, Any] = {"rows": sizes.rows, "top_rows": sizes.top_rows}
    with tempfile.TemporaryDirectory() as temporary:
        directory = pathlib.Path(_DATA_DIR.value or temporary)
        for classes in numbers:
            table = _measure(directory, sizes, classes, ways)
            figures[f"classes_{classes}"] = _tell(table, classes)
    cli.log(json.dumps(figures))


def _positive(flag: str, text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"--{flag}: expected positive numbers, got {text!r}")
    return int(text)


def _measure(
    directory: pathlib.Path, sizes: Sizes, classes: int, ways: Sequence[str]
) -> Table:
    """Returns what every way reaches, with the same result."""
    tasks = {}
    for case in sizes.cases(ways):
        predictions = inputs.open_inputs(directory, rows=case.rows, classes=classes)
        share = max(1, case.rows // classes)
        tasks[case] = case, Task(case.way, str(predictions), share)
    for path in {task.predictions for _, task in tasks.values()}:
        inputs.keep_in_memory(pathlib.Path(path))
    rounds = take_turns(tasks, _measure_turn, rounds=_ROUNDS.value)
    goals.require_equal_cut_offs(rounds)
    return Table(sizes, rounds)


def _measure_turn(turn: tuple[Case, Task]) -> Run:
    """Returns what a way takes; tells it, for a full run takes long."""
    case, task = turn
    run = runs.measure(task)
    cli.log(_row(case, run))
    return run


def _tell(table: Table, classes: int) -> dict[str, Any]:
    """Prints a table, and returns its figures."""
    rows = table.sizes.rows
    cli.log(f"\n{classes:,} classes, {max(1, rows // classes):,} images of each")
    cli.log(f"{'':16}{'rows':>13}{'seconds':>9}{'of CPU':>9}{'peak GB':>9}")
    medians = {case: table.median(case) for case in table.rounds}
    for case, run in medians.items():
        cli.log(_row(case, run))
    figures = table.figures()
    cli.log(f"\n{'':28}{'reached':>9}   goal     met")
    for name, figure in figures.items():
        cli.log(goals.line(name, figure, rows=rows))
    cli.log("")
    return {
        **figures,
        "runs": [
            [*case, *(round(figure, 3) for figure in run[:3])]
            for case, run in medians.items()
        ],
    }


def _row(case: Case, run: Run) -> str:
    return (
        f"{case.way:16}{case.rows:13,}{run.seconds:9.2f}{run.cpu_seconds:9.2f}"
        f"{run.peak_gb:9.3f}"
    )


if __name__ == "__main__":
    cli.run(main)
