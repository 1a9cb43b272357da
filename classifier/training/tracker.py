"""What a tracker is, and what it is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, Protocol, TypeAlias

from etils import epath

from stage import typed_json
from stage.setting_paths import flatten
from stage.text import printable

Status: TypeAlias = Literal["finished", "failed", "killed"]
#: Most characters of a setting's value.
_MAX_VALUE = 500


class Tracker(Protocol):
    """What receives the figures of one run."""

    def log_metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Receives one row of `metrics.jsonl`; the first call has the first row."""

    def finish(self, status: Status) -> None:
        """Receives how the run has ended; called once, last."""


class RemoteTracker(Tracker, Protocol):
    """A tracker that other software keeps: it may fail, and later go on.

    Attributes:
        run_id: Name of the run there.
    """

    run_id: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSetup:
    """What a tracker is told about a run when it begins or goes on.

    Attributes:
        name: Name of the run for readers.
        workdir: Directory of the run.
        settings: Content of its `config.json`.
        run_id: Run to go on with; None to begin one.
    """

    name: str
    workdir: epath.PathLike
    settings: Mapping[str, Any]
    run_id: str | None


def short_settings(settings: Mapping[str, Any]) -> dict[str, str]:
    """Returns settings by path, as "config.optimizer.momentum", as short texts."""
    return {
        path: typed_json.shorten(printable(str(value)), _MAX_VALUE)
        for path, value in flatten(settings)
    }
