"""Generated predictions, in files as the labeling job leaves them."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from etils import epath
from numpy.typing import NDArray

from pseudo_label.predictions import schema as prediction_schema
from stage import artifact

#: Maximum number of rows per file: 130 million images make 1,024 shards.
SHARD_ROWS = 127_000
#: Rows that are generated at once.
BLOCK_ROWS = 2**14
#: Function from the index of a shard and its number of rows to its rows.
MakeBlocks = Callable[[int, int], Iterator[pa.Table]]


def write(
    path: pathlib.Path,
    config: dict[str, Any],
    make_blocks: MakeBlocks,
    *,
    rows: int,
    more: Sequence[str] = (),
) -> None:
    """Writes predictions, unless those of the same settings are there.

    Args:
        path: Directory.
        config: What decides their content, besides the number of rows.
        make_blocks: Makes the rows of a shard.
        rows: Number of rows.
        more: Further columns, see `prediction_schema.schema`.
    """
    sizes = _shard_sizes(rows)
    config = {**config, "images": {"rows": rows, "num_shards": len(sizes)}}
    if artifact.start_or_resume(path, config):
        return
    fingerprint = artifact.config_fingerprint(config, leaving_out="images")
    for index, size in enumerate(sizes):
        file = epath.Path(path) / prediction_schema.shard_name(index)
        with artifact.replacing(file) as temporary, temporary.open("wb") as stream:
            prediction_schema.write_shard(
                stream, make_blocks(index, size), fingerprint=fingerprint, more=more
            )
    artifact.complete(path, seconds=0.0)


def _shard_sizes(rows: int) -> list[int]:
    shards = -(-rows // SHARD_ROWS)
    return [rows // shards + (index < rows % shards) for index in range(shards)]


def block_ranges(size: int) -> Iterator[tuple[int, int]]:
    """Yields the first row and the number of rows of each block of a shard."""
    for start in range(0, size, BLOCK_ROWS):
        yield start, min(BLOCK_ROWS, size - start)


def make_keys(prefix: str, start: int, rows: int) -> pa.Array:
    """Returns unique keys of consecutive rows of a shard."""
    numbers = pc.cast(pa.array(np.arange(start, start + rows)), pa.string())
    return pc.binary_join_element_wise(prefix, pc.utf8_lpad(numbers, 6, "0"), "#")


def draw_hashes(rng: np.random.Generator, rows: int) -> NDArray[np.uint64]:
    """Returns random numbers of 64 bits."""
    return rng.integers(0, 2**64, rows, dtype=np.uint64)
