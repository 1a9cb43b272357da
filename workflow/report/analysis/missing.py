"""Figures that a run does not have: a report is written of whatever is there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Missing:
    """Stands for a figure that is not there.

    Attributes:
        reason: Reason, in one line.
        command: Command that makes it; empty if none does.
    """

    reason: str
    command: str = ""


class MissingError(Exception):
    """Raised where a file that the report can do without is not there."""

    def __init__(self, reason: str, command: str = "") -> None:
        super().__init__(reason)
        self.missing = Missing(reason=reason, command=command)


def attempt(compute: Callable[[], T]) -> T | Missing:
    """Returns the result of a function, or the reason why it has none."""
    try:
        return compute()
    except MissingError as error:
        return error.missing
    except (ValueError, OSError) as error:
        return Missing(reason=" ".join(str(error).split()))
    except KeyError as error:
        return Missing(reason=f"There is no {error} in a file of another version.")


def require(found: T | Missing) -> T:
    """Returns a figure.

    Raises:
        MissingError: If it is missing.
    """
    if isinstance(found, Missing):
        raise MissingError(found.reason, found.command)
    return found
