r"""Reports on a run, or compares several runs.

  python -m workflow.report --run=runs/demo
  python -m workflow.report --run=runs/demo-seeds/seed-1 \
      --run=runs/demo-seeds/seed-2 --output=runs/demo-seeds/summary.json

For one run it prints the verdict and writes `report.json` and `report.html`. For
several, each of which needs its `report.json`, it prints and writes a table: with means
and differences if only their seeds differ, else with the settings that differ.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from stage import cli
from stage.flags import CommandFlags

FLAGS = CommandFlags()
_RUN = FLAGS.strings(
    "run", None, "Directory of a run, repeated to compare runs", required=True
)
_OUTPUT = FLAGS.output(
    "JSON file to write, beside it the HTML page; of one run RUN/report.json without.",
    required=False,
)


def main(argv: Sequence[str]) -> None:
    """Writes the report and prints it."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        from workflow.report import write_report

        runs = [pathlib.Path(run) for run in _RUN.value]
        output = _OUTPUT.value
        if len(runs) == 1:
            lines = write_report.report_on(runs[0], output and pathlib.Path(output))
        else:
            lines = write_report.compare(runs, output and pathlib.Path(output))
    for line in lines:
        cli.log(line)


if __name__ == "__main__":
    cli.run(main, FLAGS)
