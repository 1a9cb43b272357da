"""Which errors of files may pass, and how long to wait for it.

Imports nothing heavy: whoever touches a file needs it.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Seconds before each further try. Clients of object stores have tried for two
#: minutes by themselves before an error comes here.
DELAYS = (0.5, 2.0, 8.0)
#: What the file itself is like; it would be the same next time.
_LASTING = frozenset(
    {
        *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY),
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP, errno.ENAMETOOLONG),
    }
)


def may_pass(error: OSError) -> bool:
    """Whether the same call may go well later: time-outs, resets, 5xx, full tables.

    Without a number it may: object stores have none, other than for what is not
    there and what is forbidden.
    """
    return error.errno not in _LASTING


def retrying(action: Callable[[], T]) -> T:
    """Returns what the action does, tried again where its error may pass.

    Raises:
        OSError: The last one, where it lasts or stays.
    """
    for delay in DELAYS:
        try:
            return action()
        except OSError as error:
            if not may_pass(error):
                raise
        time.sleep(delay)
    return action()
