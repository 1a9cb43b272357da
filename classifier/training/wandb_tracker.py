"""Runs of Weights & Biases; with `WANDB_MODE=offline`, files to be sent later."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from typing import Any

from classifier.training.tracker import RunSetup, Status
from stage import artifact

#: Status that W&B gives for each end; 255 is that of Ctrl-C in its own handlers.
_EXIT_CODES: dict[Status, int] = {"finished": 0, "failed": 1, "killed": 255}


class WandbTracker:
    """One run of a project."""

    def __init__(self, run: Any) -> None:
        self._run = run
        self.run_id: str = run.id

    def log_metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Hands a row to W&B's own process, which sends it."""
        self._run.log(dict(values), step=step)

    def finish(self, status: Status) -> None:
        """Waits until all is sent, and sets the run's status."""
        self._run.finish(exit_code=_EXIT_CODES[status])


def open_run(project: str, setup: RunSetup) -> WandbTracker:
    """Begins a run, or goes on with one; raises what W&B raises."""
    directory = os.fspath(setup.workdir)
    if "://" not in directory:  # Otherwise W&B's own.
        cache = os.path.join(directory, artifact.WANDB, "cache")
        os.environ.setdefault("WANDB_CACHE_DIR", cache)
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    *entity, name = project.split("/")
    return WandbTracker(
        wandb.init(
            project=name,
            entity=entity[0] if entity else None,
            dir=os.environ.get("WANDB_DIR", None if "://" in directory else directory),
            id=setup.run_id or uuid.uuid4().hex[:12],
            resume="allow",
            name=setup.name,
            config=dict(setup.settings),
            # Silent also means that it does not ask for a key.
            settings=wandb.Settings(console="off", silent=True),
        )
    )
