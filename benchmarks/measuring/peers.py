"""Runs one peer in a process of its own.

  python -m benchmarks.measuring.peers MODULE TASK_AS_JSON

Calls `MODULE.run(task)` and prints what it returns as one line of JSON. Imports nothing
heavy: a peer's start is measured.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def command(module: str, task: Mapping[str, Any]) -> list[str]:
    """Returns the command line that runs a peer."""
    return [sys.executable, "-m", __name__, module, json.dumps(task)]


def installed(packages: Mapping[str, Sequence[str]]) -> list[str]:
    """Returns the peers whose packages are installed; prints those left out."""
    found = []
    for way, names in packages.items():
        missing = [name for name in names if importlib.util.find_spec(name) is None]
        if missing:
            print(f"{way} is left out: {missing[0]} is not installed", flush=True)
        else:
            found.append(way)
    return found


def split_names(flag: str, text: str, known: Sequence[str]) -> list[str]:
    """Returns the names in a flag's value, which are separated by commas.

    Raises:
        ValueError: If a name is unknown.
    """
    names = text.split(",")
    for name in names:
        if name not in known:
            raise ValueError(f"--{flag}: expected {', '.join(known)}, got {name!r}")
    return names


def main(argv: Sequence[str]) -> None:
    """Runs the peer that the arguments name."""
    _, module, task = argv
    print(json.dumps(importlib.import_module(module).run(json.loads(task))))


if __name__ == "__main__":
    main(sys.argv)
