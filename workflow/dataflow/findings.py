"""What gcloud answered, and what follows from it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, TypeAlias

from workflow.dataflow.target import Target

#: FAIL: a job would fail. cost: it would cost more than need be. ?: gcloud cannot tell.
State: TypeAlias = Literal["ok", "FAIL", "cost", "?"]
NO_ANSWER = "gcloud did not answer"
NOT_UNDERSTOOD = "gcloud's answer is not understood"
_MISSING = re.compile(r"not[ _]found|(: |HTTPError )404\b", re.IGNORECASE)
#: gcloud says "not found or permission denied" of what it may not see.
_DENIED = re.compile(r"permission|denied", re.IGNORECASE)
_EXPIRED = "problem refreshing your current auth tokens"


@dataclasses.dataclass(frozen=True)
class Answer:
    """An answer of gcloud.

    Attributes:
        value: The parsed JSON.
        reason: Why there is no value, in gcloud's words; empty if there is one.
    """

    value: Any = None
    reason: str = ""

    @property
    def is_missing(self) -> bool:
        """Whether what was asked for is not there."""
        return bool(_MISSING.search(self.reason)) and not _DENIED.search(self.reason)

    @property
    def is_expired(self) -> bool:
        """Whether gcloud's login has expired."""
        return _EXPIRED in self.reason

    @property
    def is_late(self) -> bool:
        """Whether gcloud did not answer in time."""
        return self.reason.startswith(NO_ANSWER)


Answers: TypeAlias = Mapping[str, Answer]


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: What was looked at.
        detail: What was found.
        remedy: What to type, or where to go.
    """

    state: State
    subject: str
    detail: str
    remedy: str = ""

    def __str__(self) -> str:
        """The line for the user."""
        line = f"{self.state:<4} {self.subject}: {self.detail}"
        return f"{line}: type: {self.remedy}" if self.remedy else line


Check: TypeAlias = Callable[[Target, Answers], Iterator[Finding]]


def unseen(subject: str, answer: Answer) -> Finding:
    """Returns the finding for what gcloud did not tell."""
    return Finding("?", subject, answer.reason)


def setting(name: str, value: object = "") -> str:
    """Returns a setting of Dataflow for a remedy, with make's variable for it."""
    return f"runner.dataflow.{name}={value} (make: {name.upper()}=)"
