"""States of a job, in the words of a line for the user."""

from __future__ import annotations

from typing import Any

#: States of a job that has no worker yet.
WAITING = frozenset({"pending", "queued"})
CANCELLING = "cancelling"
#: States of a job that somebody ends.
ENDING = frozenset({CANCELLING, "draining"})
ENDED = frozenset({"done", "failed", "cancelled", "updated", "drained"})


def state_name(api_state: str) -> str:
    """Returns the words for what the service calls JOB_STATE_..."""
    return api_state.removeprefix("JOB_STATE_").lower().replace("_", " ")


def state_of(job: Any) -> str:
    """Returns the state of a job of the service's API."""
    return state_name(job.current_state.name)
