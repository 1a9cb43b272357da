"""All that is read from files which may be damaged."""

from __future__ import annotations

import pathlib

from tests.fuzz import artifacts, images, records
from tests.fuzz.harness import Target


def prepare(root: pathlib.Path) -> None:
    """Writes the undamaged files into an empty directory."""
    artifacts.prepare(root)
    images.prepare(root)


def make(root: pathlib.Path) -> list[Target]:
    """Returns all targets; their files are in a directory."""
    return [*records.targets(root), *images.targets(root), *artifacts.targets(root)]
