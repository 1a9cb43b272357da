"""The files of a choice: `choice.json` for people, `choice.mk` for make."""

from __future__ import annotations

import dataclasses
from typing import Any

from etils import epath

from stage import artifact
from workflow.choice.decision import Choice, Facts

#: Directory of the choice in that of a run, and the settings beside it.
CHOICE, SETTINGS = "choice", "settings"


def has_begun(run: epath.PathLike) -> bool:
    """Whether a run has made more than its settings and its choice."""
    path = epath.Path(run)
    return path.exists() and any(
        file.name not in (CHOICE, SETTINGS) and not artifact.is_unfinished(file)
        for file in path.iterdir()
    )


def is_settled(directory: epath.PathLike, config: dict[str, Any]) -> bool:
    """Whether a choice stays: for the same question, or as its run has begun."""
    path = artifact.reach(directory)
    if not artifact.is_complete(path):
        return False
    return artifact.read_config(path) == config or has_begun(path.parent)


def write(directory: epath.PathLike, facts: Facts, choice: Choice) -> None:
    """Writes both files. What make reads has no character that it would expand."""
    path = epath.Path(directory)
    content = {"facts": dataclasses.asdict(facts), "choice": dataclasses.asdict(choice)}
    artifact.write_json(path / "choice.json", content)
    variables = {
        "FEATURES": "" if facts.given else choice.features or "",
        "PRESET": choice.student.preset,
        "FLAGS": " ".join(choice.student.flags),
    }
    lines = (f"CHOSEN_{name} := {value}\n" for name, value in variables.items())
    artifact.write_bytes(path / "choice.mk", "".join(lines).encode())
