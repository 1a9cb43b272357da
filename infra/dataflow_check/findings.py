"""What gcloud answered, and what follows from it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, TypeAlias

from infra.dataflow_check.target import Target

#: FAIL: the job would fail. cost: it would cost more than need be. ?: not known.
State: TypeAlias = Literal["ok", "FAIL", "cost", "?"]
_MISSING = re.compile(r"not[ _]found|\b404\b|unknown service account", re.IGNORECASE)


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
        return bool(_MISSING.search(self.reason))


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
