r"""Reports on a run, or compares several that differ in their seed.

  python -m workflow.report --run=runs/demo
  python -m workflow.report --run=runs/demo-seeds/seed-1 \
      --run=runs/demo-seeds/seed-2 --output=runs/demo-seeds/summary.json

Of one run it prints the verdict and writes `report.json` and, to look at,
`report.html`; of several, whose `report.json` must be there, it prints a table and
writes what is in it.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Sequence

from absl import app, flags

from workflow.report import write_report

_RUN = flags.DEFINE_multi_string(
    "run", None, "Directory of a run; several times to compare.", required=True
)
_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "JSON file to write, the page beside it; RUN/report.json if there is one run.",
)


def main(argv: Sequence[str]) -> None:
    """Writes the report and prints it."""
    try:
        runs = [pathlib.Path(run) for run in _RUN.value]
        output = _OUTPUT.value
        if len(argv) > 1:
            raise ValueError(f"expected flags only, got {' '.join(argv[1:])!r}")
        if len(runs) == 1:
            lines = write_report.report_on(runs[0], output and pathlib.Path(output))
        elif output is None:
            raise ValueError("expected --output to compare several runs")
        else:
            lines = write_report.compare(runs, pathlib.Path(output))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    sys.stdout.writelines(line + "\n" for line in lines)


if __name__ == "__main__":
    app.run(main)
