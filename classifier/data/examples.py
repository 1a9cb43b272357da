"""Data model of image input: files, examples, their statuses, and readers."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator
from typing import Any, Protocol

from stage.status import OK

#: Label of an image without one.
UNLABELED = -1


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """A file, or a range of records in one.

    Attributes:
        path: Location of the file.
        name: Machine-independent name, used in keys.
        skip: Number of records before the first to read.
        take: Number of records to read, -1 for all.
        to_end: Whether those should be the last records of the file.
        label: Class of the image if the file is one image, else -1.
        size: Bytes when the source was listed, -1 if unknown.
        mtime_ns: Modification time when the source was listed, in nanoseconds since
            1970, -1 if unknown.
        kept: Mask of the range's examples, one byte each, 1 to read the example;
            empty to read all.
        count: Number of examples that were found by reading the file, without the
            mask; -1 if it was not read.
        first: Index of the file's first example among those of a sample, see
            `classifier.data.sampling`; -1 otherwise.
        compression: Compression of the records: GZIP, ZLIB, or "" for none; by the
            file's ending until the file is read.
    """

    path: str
    name: str
    skip: int = 0
    take: int = -1
    to_end: bool = False
    label: int = UNLABELED
    size: int = -1
    mtime_ns: int = -1
    kept: bytes = b""
    count: int = -1
    first: int = -1
    compression: str = ""


def name_hash(file: File) -> tuple[bytes, int]:
    """Returns a key by which files, and parts of one, are in a random order."""
    name = hashlib.blake2b(os.fsencode(file.name), digest_size=16).digest()
    return name, file.skip


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
    """An image, or a placeholder for one that cannot be read.

    Attributes:
        key: Identifier, unique in its source.
        image: Encoded bytes; empty unless the status is `ok`.
        label: Class of the image, -1 unless it is a single integer.
        status: `ok`, or a code for why there is no image.
        error: Description of the error, or of what an image has in place of a label
            that its source should hold; "" if there is neither.
    """

    key: bytes
    image: bytes
    label: int
    status: str = OK
    error: str = ""


def key_text(key: bytes) -> str:
    r"""Returns a key as text; bytes that are not UTF-8 become \xNN."""
    return key.decode(errors="backslashreplace")


class Reader(Protocol):
    """Converts a file to examples."""

    def read(self, file: dict[str, Any]) -> Any:
        """Returns a dataset of `{"key", "image", "label"}`; fails at broken records.

        The argument holds the fields of a `File`, as tensors.
        """

    def examples(self, file: File) -> Iterator[Example]:
        """Yields one example per image, placeholders included.

        Raises OSError if a transient error persists.
        """
