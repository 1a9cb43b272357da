"""The selected images of an input shard, each compared with what was labeled."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beam_jobs.writing.spool import WritingError
from classifier.data.examples import Example

#: Columns that the rows need at least.
COLUMNS = ("key", "image_sha256")


def join_images(
    rows: Iterator[dict[str, Any]],
    copies: NDArray[np.int64],
    examples: Iterable[Example],
    *,
    shard: int,
) -> Iterator[tuple[dict[str, Any], int, bytes]]:
    """Yields each selected row of an input shard, its number of copies and its image.

    Args:
        rows: The selected rows, see `pseudo_label.selection.kept_rows`.
        copies: Number of copies of each row of the shard, selected or not.
        examples: Images of the shard.
        shard: Number of the shard, for messages.

    Raises:
        WritingError: If an image is not the labeled one.
    """
    count, error = 0, ""
    for example in examples:
        error = f" ({example.status}: {example.error})" if example.error else ""
        if count < len(copies) and copies[count]:
            row = next(rows)
            if hashlib.sha256(example.image).digest() != row["image_sha256"]:
                raise WritingError(
                    f"shard {shard}, row {count} ({row['key']}): the image is not the "
                    f"one that was labeled{error}"
                )
            yield row, int(copies[count]), example.image
        count += 1
    if count != len(copies):
        raise WritingError(
            f"shard {shard}: expected {len(copies)} images, got {count}{error}"
        )
