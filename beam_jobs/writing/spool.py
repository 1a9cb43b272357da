"""Sorts the records of output shards on local disk.

Records are appended in any order and read in the order of their sort keys. In memory,
a record takes 20 bytes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from array import array
from collections.abc import Iterator
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from classifier.data import tfrecord

#: Maximum open files, which further shards share. Some systems allow 256.
MAX_FILES = 64
#: Bytes of a write buffer, which holds several images: calls cost as much as copying.
_BUFFER = 2**18
#: Records to read at once.
_READ_BATCH = 16


class WritingError(RuntimeError):
    """Records cannot be written; the message is for the user."""


class Spool:
    """Holds the records of some shards until it is closed.

    Its files are unnamed, in the temporary directory (`TMPDIR`): they vanish with the
    process, however it ends. Methods raise WritingError if the disk is full.
    """

    def __init__(self, num_shards: int) -> None:
        self._stack = contextlib.ExitStack()
        with _explaining_errors():
            self._files = [
                self._stack.enter_context(_open_unnamed())
                for _ in range(min(num_shards, MAX_FILES))
            ]
        self._sort_keys = [array("Q") for _ in range(num_shards)]
        self._offsets = [array("Q") for _ in range(num_shards)]
        self._lengths = [array("I") for _ in range(num_shards)]

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # Unwritten records are not needed.
            self._stack.close()

    def append(self, shard: int, sort_key: int, content: bytes) -> None:
        """Appends a record, without TFRecord's framing, to a shard.

        Sort keys have 64 bits; records of equal keys keep their order.
        """
        file = self._files[shard % len(self._files)]
        offset = file.tell()
        with _explaining_errors():
            tfrecord.write_record(file, content)
        self._sort_keys[shard].append(sort_key)
        self._offsets[shard].append(offset)
        self._lengths[shard].append(file.tell() - offset)

    def sort_keys(self, shard: int) -> NDArray[np.uint64]:
        """Returns the sort keys of a shard, ascending."""
        return np.sort(np.array(self._sort_keys[shard], np.uint64))

    def num_bytes(self, shard: int) -> int:
        """Returns the size of a shard's records with their framing."""
        return sum(self._lengths[shard])

    def read(self, shard: int) -> Iterator[bytes]:
        """Yields chunks of the framed records of a shard in the order of their keys."""
        file = self._files[shard % len(self._files)]
        with _explaining_errors():
            file.flush()
        handle = file.fileno()
        offsets, lengths = self._offsets[shard], self._lengths[shard]
        order = np.argsort(np.array(self._sort_keys[shard], np.uint64), kind="stable")
        for start in range(0, len(order), _READ_BATCH):
            yield b"".join(
                os.pread(handle, lengths[index], offsets[index])
                for index in order[start : start + _READ_BATCH].tolist()
            )


def _open_unnamed() -> BinaryIO:
    # The caller closes it.
    return cast(BinaryIO, tempfile.TemporaryFile(buffering=_BUFFER))


@contextlib.contextmanager
def _explaining_errors() -> Iterator[None]:
    """Names the directory in the message: the full disk need not be the output's."""
    try:
        yield
    except OSError as error:
        advice = "choose another directory with TMPDIR="
        if error.errno in (errno.EMFILE, errno.ENFILE):
            advice = "allow more with ulimit -n, or write fewer shards"
        raise WritingError(
            f"cannot write temporary records to {tempfile.gettempdir()}: "
            f"{error.strerror}; {advice}"
        ) from error
