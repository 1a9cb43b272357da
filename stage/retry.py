"""Retry policy for transient file-system errors. Imports nothing heavy."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import TypeVar

import tenacity

T = TypeVar("T")

#: Seconds to wait before each further attempt. Clients of object stores have already
#: retried for two minutes when an error gets here.
DELAYS = (0.5, 2.0, 8.0)
#: Errors that depend on the file itself, so that another attempt would fail as well.
_PERMANENT = frozenset(
    {
        *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY),
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP, errno.ENAMETOOLONG),
        *(errno.ENXIO, errno.ENODEV),  # A socket, or the device of none.
    }
)


def is_transient(error: BaseException) -> bool:
    """Whether another attempt may succeed: time-outs, resets, 5xx, full file tables.

    Errors without a number are transient: object stores number only those about
    missing and forbidden files.
    """
    return isinstance(error, OSError) and error.errno not in _PERMANENT


_POLICY = tenacity.Retrying(
    retry=tenacity.retry_if_exception(is_transient),
    stop=lambda state: state.attempt_number > len(DELAYS),
    # Also called after the last attempt, where no delay is left.
    wait=lambda state: (*DELAYS, 0.0)[state.attempt_number - 1],
    sleep=lambda seconds: time.sleep(seconds),
    reraise=True,
)


def retrying(action: Callable[[], T]) -> T:
    """Returns the result of the action, repeating it after transient errors.

    Raises the last error if it is permanent or all attempts fail.
    """
    return _POLICY(action)
