"""What a way to select is given, and what it says; imports nothing heavy.

A peer's start is measured, so it shall be its own.
"""

from __future__ import annotations

from typing import NamedTuple

OURS = "ours"
CONFIDENCE_THRESHOLD = 0.3


class CutOff(NamedTuple):
    """Where a class ends.

    Attributes:
        label: Of the class.
        unique: Images kept.
        confidence: Of the last of them.
        key_hash: Likewise.
    """

    label: int
    unique: int
    confidence: float
    key_hash: int


class Task(NamedTuple):
    """What is selected from, and how.

    Attributes:
        way: Which program selects: `ours`, or one of `selecting_peers.PEERS`.
        predictions: Directory of them.
        images_per_class: To be kept of each class.
    """

    way: str
    predictions: str
    images_per_class: int
