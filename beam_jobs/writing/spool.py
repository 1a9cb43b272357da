"""Records on their way into output shards: on local disk, in the order they come.

What stays in memory of a record is where it is, 20 bytes. A shard's records leave in
the order of their places: of hashes, which mix what came together.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from array import array
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO, cast

import numpy as np

from classifier.data import tfrecord

#: That are open at once; further shards share them. Some systems allow 256.
MAX_FILES = 64
#: Bytes that are written at once: several images', for calls cost as much as copying.
_BUFFER = 2**18
#: Records that are read at once, likewise.
_AT_ONCE = 16


class WritingError(RuntimeError):
    """Why records cannot be written, in words for the user."""


class Spool:
    """Holds the records of some shards until it is closed.

    Its files are in the temporary directory (`TMPDIR`) and have no names there: they
    are gone when the process is, however that ends.
    """

    def __init__(self, num_shards: int) -> None:
        self._stack = contextlib.ExitStack()
        with _naming_the_disk():
            self._files = [
                self._stack.enter_context(_open_unnamed())
                for _ in range(min(num_shards, MAX_FILES))
            ]
        self._places = [array("Q") for _ in range(num_shards)]
        self._offsets = [array("Q") for _ in range(num_shards)]
        self._lengths = [array("I") for _ in range(num_shards)]

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):  # What was not written is not wanted.
            self._stack.close()

    def append(self, shard: int, place: int, content: bytes) -> None:
        """Takes a record.

        Args:
            shard: Number of its shard, of those that are held.
            place: In the shard, of 64 bits; of equal ones the first comes first.
            content: Of the record, without TFRecord's framing.

        Raises:
            WritingError: If there is no room for it.
        """
        file = self._files[shard % len(self._files)]
        offset = file.tell()
        with _naming_the_disk():
            tfrecord.write_record(file, content)
        self._places[shard].append(place)
        self._offsets[shard].append(offset)
        self._lengths[shard].append(file.tell() - offset)

    def read(self, shard: int) -> Iterator[bytes]:
        """Yields the records of a shard in order, framed, some at a time.

        Raises:
            WritingError: If there is no room for what was taken last.
        """
        file = self._files[shard % len(self._files)]
        with _naming_the_disk():
            file.flush()
        handle = file.fileno()
        offsets, lengths = self._offsets[shard], self._lengths[shard]
        order = np.argsort(np.array(self._places[shard], np.uint64), kind="stable")
        for start in range(0, len(order), _AT_ONCE):
            yield b"".join(
                os.pread(handle, lengths[index], offsets[index])
                for index in order[start : start + _AT_ONCE].tolist()
            )


def _open_unnamed() -> BinaryIO:
    # The stack that it is entered into closes it.
    return cast(BinaryIO, tempfile.TemporaryFile(buffering=_BUFFER))


@contextlib.contextmanager
def _naming_the_disk() -> Iterator[None]:
    """Says which disk it is, which has nothing to do with the output's."""
    try:
        yield
    except OSError as error:
        raise WritingError(
            f"cannot hold records in {tempfile.gettempdir()}: {error.strerror}; "
            "TMPDIR= names another directory for them"
        ) from error
