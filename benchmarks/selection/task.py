"""One way to select, and the cut-offs that it finds; imports nothing heavy."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

OURS = "ours"
CONFIDENCE_THRESHOLD = 0.3
#: By way: its module, and the package that it needs.
PEERS = {
    "duckdb": ("duckdb_window", "duckdb"),
    "duckdb_with_key": ("duckdb_window", "duckdb"),
    "top": ("beam_top", "apache_beam"),
    "top_processes": ("beam_top", "apache_beam"),
    "scan": ("arrow_scan", "pyarrow"),
}


class CutOff(NamedTuple):
    """The last selected image of a class, and the number of selected images."""

    label: int
    unique: int
    confidence: float
    key_hash: int


class SelectionTask(NamedTuple):
    """Predictions to select from, and how.

    Attributes:
        way: Program that selects: `ours`, or a key of `PEERS`.
        predictions: Directory of the predictions.
        images_per_class: Number of images to select of each class.
    """

    way: str
    predictions: str
    images_per_class: int


def run(fields: dict[str, Any]) -> list[CutOff]:
    """Runs a peer in this process (see `benchmarks.measuring.peers`)."""
    task = SelectionTask(**fields)
    module, _ = PEERS[task.way]
    peer = importlib.import_module(f"benchmarks.selection.{module}")
    return sorted(peer.run(task))
