"""Files, examples and their statuses: what every reader yields."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Protocol

OK = "ok"
#: The file was there when the source was listed.
MISSING = "missing"
#: The file is there and cannot be read: forbidden, no file, a broken disk.
UNREADABLE = "unreadable"
#: The bytes of the record are not those that were written.
CORRUPT_RECORD = "corrupt_record"
#: The record is whole and holds no image, or not one.
BAD_RECORD = "bad_record"
#: The label of an image that has none.
UNLABELED = -1


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """A file, or a range of records in one.

    Attributes:
        path: Where it is.
        name: What keys call it: no machine's own paths.
        skip: Records before the first to read.
        take: Records to read, -1 for all.
        label: The class of every image in it, -1 where the records say it.
        size: In bytes as it was listed, -1 where that is not known.
        kept: Of a file that is read in part, a byte for each example of the range, 1
            where it is read; empty where all are.
    """

    path: str
    name: str
    skip: int = 0
    take: int = -1
    label: int = UNLABELED
    size: int = -1
    kept: bytes = b""


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
    """An image, or what stands for it.

    Attributes:
        key: Unique in its source.
        image: Encoded bytes; empty where the status is not `ok`.
        label: Its class, or -1 where it has none that is one integer.
        status: `ok`, or why there is no image.
        error: The reason in words, else "".
    """

    key: bytes
    image: bytes
    label: int
    status: str = OK
    error: str = ""


#: From a record to its image and label; raises ValueError on what is no image.
Parse = Callable[[bytes], tuple[bytes, int]]


def key_text(key: bytes) -> str:
    r"""Returns a key to print and to store: bytes that are not UTF-8 become \xNN."""
    return key.decode(errors="backslashreplace")


class Reader(Protocol):
    """How one file becomes examples."""

    def read(self, file: dict[str, Any]) -> Any:
        """Returns a dataset of `{"key", "image", "label"}`; ends at what is broken.

        `file` holds the fields of `File` as tensors.
        """

    def examples(self, file: File) -> Iterator[Example]:
        """Yields each image, or what stands for it; raises what may pass."""
