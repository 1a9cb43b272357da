"""Parts of a stage that run at the same time, also on several machines: `--shards=I/N`.

Every part has a lock of its own. A whole run and parts keep each other out, and so do
parts of two divisions, since a run deletes unfinished files only of shards that are its
own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import os
import re
from collections.abc import Iterator

#: Begins the names of files that parts leave in a directory until it is complete.
PREFIX = ".part-"
_LOCK_NAME = re.compile(rf"{re.escape(PREFIX)}(\d+)-of-(\d+)\.lock")
#: Errors of file systems that have no locks.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class HeldError(ValueError):
    """Another process holds a lock; the message is for the user."""


@dataclasses.dataclass(frozen=True)
class Part:
    """One of `count` parts of a stage, the whole of it by default.

    Attributes:
        index: Number of the part, from 0 on.
        count: Number of parts.
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ValueError(
                "--shards: expected I/N with I from 0 to N - 1, as parts are counted "
                f"from 0, got {self}"
            )

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def is_whole(self) -> bool:
        """Whether there is no other part."""
        return self.count == 1

    @property
    def lock_name(self) -> str:
        """Name of the lock in the directory of the stage."""
        if self.is_whole:
            return ".lock"
        return f"{PREFIX}{self.index}-of-{self.count}.lock"

    def take(self, units: int) -> range:
        """Returns which of so many units of work are this part's: every N-th."""
        return range(self.index, units, self.count)

    def is_kept_out_by(self, name: str) -> bool:
        """Whether this part must not run while a file's name is that of a held lock."""
        if name == WHOLE.lock_name:
            return not self.is_whole
        found = _LOCK_NAME.fullmatch(name)
        return found is not None and (self.is_whole or int(found[2]) != self.count)


WHOLE = Part()


def parse(text: str | None) -> Part:
    """Returns the part that `--shards=I/N` names; the whole without a text."""
    if text is None:
        return WHOLE
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if found is None:
        raise ValueError(f"--shards: expected I/N, as 0/4, got {text!r}")
    return Part(int(found[1]), int(found[2]))


def describe_rest(part: Part, *, done: int, total: int, what: str) -> str:
    """Returns a line for the user of a part that is done; empty if all shards are."""
    if done == total:
        return ""
    return (
        f"part {part} is done; {done:,} of {total:,} shards are {what}; the part that "
        "ends last completes the output"
    )


@contextlib.contextmanager
def locked(path: str, part: Part) -> Iterator[bool]:
    """Locks a local directory for a part while the block runs.

    A whole run holds the directory alone. Parts share it, and each holds a file of its
    own, which some shared file systems also lock for other machines.

    Yields whether the file system has locks. Raises HeldError if another process
    keeps this one out, OSError if there can be no lock.
    """
    with contextlib.ExitStack() as stack:
        kind = fcntl.LOCK_EX if part.is_whole else fcntl.LOCK_SH
        flags = os.O_RDONLY | os.O_DIRECTORY
        is_locked = _lock(
            stack, path, flags, kind, f"another process is writing to {path}"
        )
        if not part.is_whole:
            own = os.path.join(path, part.lock_name)
            said = f"another process is making part {part} of {path}"
            is_locked &= _lock(stack, own, os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX, said)
        for name in filter(part.is_kept_out_by, os.listdir(path)):
            said = f"another process holds {os.path.join(path, name)}"
            with (
                contextlib.suppress(FileNotFoundError),
                contextlib.ExitStack() as other,
            ):
                _lock(other, os.path.join(path, name), os.O_RDONLY, fcntl.LOCK_SH, said)
        yield is_locked


def _lock(
    stack: contextlib.ExitStack, path: str, flags: int, kind: int, said: str
) -> bool:
    """Locks a file until the stack ends; returns whether its file system has locks."""
    handle = os.open(path, flags, 0o666)
    stack.callback(os.close, handle)
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        raise HeldError(f"{said}; wait until it ends") from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return False
    return True
