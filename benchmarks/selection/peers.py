"""Runs one peer, in a process of its own.

  python -m benchmarks.selection.peers WAY PREDICTIONS IMAGES_PER_CLASS

Prints the cut-off of each class as one line of JSON.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys

from benchmarks.selection.task import Task
from stage import cli

#: By way: its module, and the package that this needs.
PEERS = {
    "duckdb": ("selecting_duckdb", "duckdb"),
    "duckdb_with_key": ("selecting_duckdb", "duckdb"),
    "top": ("selecting_top", "apache_beam"),
    "top_processes": ("selecting_top", "apache_beam"),
    "scan": ("selecting_scan", "pyarrow"),
}


def installed() -> list[str]:
    """Returns the peers that can be run; says which cannot."""
    found = []
    for way, (_, package) in PEERS.items():
        if importlib.util.find_spec(package) is None:
            cli.log(f"{way} is left out: {package} is not installed")
        else:
            found.append(way)
    return found


def main(argv: list[str]) -> None:
    """Runs the peer that the arguments name."""
    way, predictions, images_per_class = argv[1:]
    peer = importlib.import_module(f"benchmarks.{PEERS[way][0]}")
    cut_offs = peer.run(Task(way, predictions, int(images_per_class)))
    cli.log(json.dumps(sorted(cut_offs)))


if __name__ == "__main__":
    main(sys.argv)
