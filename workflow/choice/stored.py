"""The file of a choice."""

from __future__ import annotations

import dataclasses

from etils import epath

from stage import artifact
from workflow.choice.decision import Choice, Facts

#: File of a choice in its directory.
CHOICE_FILE = "choice.json"


def write(directory: epath.PathLike, facts: Facts, choice: Choice) -> None:
    """Writes what was chosen, and by which facts."""
    content = {
        "facts": dataclasses.asdict(facts),
        "choice": {
            **dataclasses.asdict(choice),
            "student": {
                **dataclasses.asdict(choice.student),
                "flags": choice.student.flags,
            },
        },
    }
    artifact.write_json(epath.Path(directory) / CHOICE_FILE, content)
