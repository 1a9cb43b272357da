"""Figures that a run does not have: the report shows the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Missing:
    """Reason why a figure is missing, in one line, and the command that makes it.

    The command is empty if there is none.
    """

    reason: str
    command: str = ""


class MissingError(Exception):
    """A file is missing that the report can do without."""

    def __init__(self, reason: str, command: str = "") -> None:
        super().__init__(reason)
        self.missing = Missing(reason=reason, command=command)


def attempt(compute: Callable[[], T]) -> T | Missing:
    """Returns the result of a function, or the reason why its input is unusable."""
    try:
        return compute()
    except MissingError as error:
        return error.missing
    except (ValueError, OSError) as error:
        return Missing(reason=" ".join(str(error).split()))
    except KeyError as error:
        return Missing(reason=f"There is no {error} in a file of another version.")


def known(found: T | Missing) -> T | None:
    """Returns a figure, or None if it is missing."""
    return None if isinstance(found, Missing) else found


def require(found: T | Missing) -> T:
    """Returns a figure; raises MissingError if it is missing."""
    if isinstance(found, Missing):
        raise MissingError(found.reason, found.command)
    return found
