"""Files read side by side, for passes over whole sources."""

from __future__ import annotations

import collections
import concurrent.futures
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from classifier.data import python_reader
from classifier.data.examples import Example, File, Reader
from classifier.data.readers import FolderReader
from stage.system import num_cores

#: Files of one image each that a thread reads at a time.
_CHUNK = 64

_Result = TypeVar("_Result")


def read_each(
    reader: Reader,
    files: Sequence[File],
    read: Callable[[File, Iterable[Example]], _Result],
) -> Iterator[_Result]:
    """Yields what `read` makes of each file and its examples, in order.

    Threads are a bounded number of files ahead: a few of many may be enough. When the
    iteration ends, they give up what they are reading.

    Raises:
        OSError: If a transient error persists.
    """
    is_folder = isinstance(reader, FolderReader)
    size = _CHUNK if is_folder else 1

    is_over = threading.Event()

    def while_wanted(examples: Iterable[Example]) -> Iterator[Example]:
        for example in examples:
            if is_over.is_set():
                raise concurrent.futures.CancelledError
            yield example

    def read_chunk(chunk: Sequence[File]) -> list[_Result]:
        examples = while_wanted(python_reader.read_examples(reader, chunk))
        groups = ([example] for example in examples) if is_folder else [examples]
        return [read(file, group) for file, group in zip(chunk, groups, strict=True)]

    pool = concurrent.futures.ThreadPoolExecutor(num_cores())
    pending: collections.deque[concurrent.futures.Future[list[_Result]]]
    pending = collections.deque()
    try:
        for start in range(0, len(files), size):
            pending.append(pool.submit(read_chunk, files[start : start + size]))
            if len(pending) > 2 * num_cores():
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    finally:
        is_over.set()
        pool.shutdown(cancel_futures=True)
