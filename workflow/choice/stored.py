"""The files of a choice: `choice.json` for people, `choice.mk` for make."""

from __future__ import annotations

import dataclasses
from typing import Any

from etils import epath

from stage import artifact, typed_json
from workflow.choice.decision import Choice, Facts

#: Preset that is chosen.
AUTO = "auto"
#: Variables of make that may have it.
_PRESETS = "PRESET", "STUDENT_PRESET"
#: Directory of the choice in that of a run, and the settings beside it.
CHOICE, SETTINGS = "choice", "settings"


def has_begun(run: epath.PathLike) -> bool:
    """Whether a run has made more than its settings and its choice."""
    path = epath.Path(run)
    return path.exists() and any(
        file.name not in (CHOICE, SETTINGS) and not artifact.is_unfinished(file)
        for file in path.iterdir()
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _SettingsOfRun:
    """What is read of the settings of a run."""

    variables: dict[str, str]


def check_run(directory: epath.PathLike) -> None:
    """Raises ValueError if the run of a choice was begun with presets, without one."""
    run = artifact.reach(directory).parent
    path = run / SETTINGS
    if not (path.exists() and has_begun(run)):
        return
    try:
        variables = typed_json.read(path, _SettingsOfRun).variables
    except ValueError:  # `workflow.settings` says what is wrong.
        return
    presets = {name: variables.get(name, AUTO) for name in _PRESETS}
    if AUTO not in presets.values():
        got = ", ".join(f"{name}={preset}" for name, preset in presets.items())
        raise ValueError(
            f"{run} was begun with {got}, got {AUTO}; use the same settings, or "
            "another RUN="
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
