"""Runs one peer, in a process of its own.

  python -m benchmarks.labeling.peers TASK_AS_JSON

Prints a `Total` as one line of JSON.
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile

from benchmarks.labeling.task import Task, Timesheet
from stage import cli

#: By way: what it needs.
PEERS = {
    "bare": ("tensorflow",),
    "stock": ("apache_beam",),
    "ray": ("ray",),
    "timm": ("timm", "torchvision"),
}


def main(argv: list[str]) -> None:
    """Runs the peer that the task names."""
    task = Task.from_json(argv[1])
    peer = importlib.import_module(f"benchmarks.labeling_{task.way}")
    with tempfile.TemporaryDirectory() as directory:
        sheet = Timesheet(directory)
        peer.run(task, sheet)
        total = sheet.total()
    cli.log(json.dumps(total._asdict()))


if __name__ == "__main__":
    main(sys.argv)
