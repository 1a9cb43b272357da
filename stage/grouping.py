"""Groups of rows in NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray


def split_by(
    rows: NDArray[Any], by: NDArray[Any]
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yields each number in `by` [N], ascending, and the rows [N] with it in order."""
    order = np.argsort(by, kind="stable")
    numbers, starts = np.unique(by[order], return_index=True)
    # On structured arrays `take` is 15 times as fast as indexing.
    parts = np.split(rows.take(order), starts[1:])
    yield from zip(numbers.tolist(), parts, strict=False)
