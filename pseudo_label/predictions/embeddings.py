"""Embeddings in a column of predictions: D numbers of float16, little-endian, as bytes.

Parquet would store a level beside each number of a list, which takes four times as long
to read and twenty times as long to write. Earlier versions did that.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from etils import epath
from numpy.typing import NDArray

from stage import typed_json

#: Columns of predictions with embeddings; the second only with one teacher.
EMBEDDING, EMBEDDING_NORM = "embedding", "embedding_norm"
#: Type of the first in earlier versions.
LISTS = pa.list_(pa.float16())
_ITEM = 2
#: Bits of a float16 that are all set in what is not finite.
_EXPONENT = np.uint16(0x7C00)
#: Bits of a float16 at their places in a float32: all but three bits of the exponent.
_HALF_BITS = np.int32(-0x70002000)
#: Ratio of a float32 to what those bits say, as exponents are biased by 127 and by 15.
_BIAS = np.float32(2.0**112)
#: Numbers that are checked or converted at once, which stay in a core's cache.
_BLOCK_NUMBERS = 2**17


def to_column(embeddings: NDArray[Any], is_missing: NDArray[np.bool_]) -> pa.Array:
    """Returns embeddings [B,D] as a column, null where they are missing."""
    halves = np.ascontiguousarray(embeddings[~is_missing], "<f2")
    lengths = np.where(is_missing, 0, embeddings.shape[1] * _ITEM)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    valid = pa.array(~is_missing).buffers()[1] if is_missing.any() else None
    buffers = [valid, pa.py_buffer(offsets), pa.py_buffer(halves)]
    return pa.Array.from_buffers(pa.binary(), len(is_missing), buffers)


def from_lists(column: pa.ChunkedArray) -> pa.Array:
    """Returns the column of an earlier version, `LISTS`, as one of bytes."""
    lists = column.combine_chunks()
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy() * _ITEM
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    values = lists.flatten().fill_null(np.float16(np.nan))
    halves = np.ascontiguousarray(values.to_numpy(zero_copy_only=False), "<f2")
    valid = lists.is_valid().buffers()[1]
    buffers = [valid, pa.py_buffer(offsets), pa.py_buffer(halves)]
    return pa.Array.from_buffers(pa.binary(), len(lists), buffers)


def to_matrix(
    table: pa.Table, size: int, *, path: epath.Path, first: int
) -> NDArray[np.float16]:
    """Returns the embeddings float16 [B,size] of the rows with a prediction.

    Args:
        table: Rows of a file, with the columns `label` and `embedding`.
        size: Number D of features.
        path: File of the rows.
        first: Position of the first row in the file.

    Raises:
        ValueError: If an embedding is not D finite numbers.
    """
    is_used = table["label"].is_valid().to_numpy()
    column = table[EMBEDDING].combine_chunks()
    lengths = pc.binary_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    bad = is_used & (lengths != size * _ITEM)
    if not bad.any():
        used = column if is_used.all() else column.filter(pa.array(is_used))
        matrix = _to_halves(used).reshape(-1, size)
        bad[is_used] = ~are_finite(matrix)
        if not bad.any():
            return matrix
    row = int(np.argmax(bad))
    found = _to_halves(column.slice(row, 1)).tolist()
    raise ValueError(
        f"{path}, row {first + row}: expected {size} finite numbers in {EMBEDDING}, "
        f"got {typed_json.shown(found)}"
    )


def are_finite(halves: NDArray[np.float16]) -> NDArray[np.bool_]:
    """Returns which rows of float16 [B,D] are finite, bool [B]."""
    step = max(1, _BLOCK_NUMBERS // max(1, halves.shape[1]))
    finite = np.ones(len(halves), bool)
    bits = halves.view(np.uint16)
    for start in range(0, len(halves), step):
        block = bits[start : start + step] & _EXPONENT
        finite[start : start + step] = block.max(axis=1, initial=0) != _EXPONENT
    return finite


def widen(halves: NDArray[np.float16]) -> NDArray[np.float32]:
    """Returns finite float16 as float32; a quarter of the time that NumPy takes."""
    wide = np.empty(halves.shape, np.float32)
    bits = wide.view(np.int32)
    bits[...] = halves.view(np.int16)
    np.left_shift(bits, 13, out=bits)
    np.bitwise_and(bits, _HALF_BITS, out=bits)
    return np.multiply(wide, _BIAS, out=wide)


def _to_halves(column: pa.Array) -> NDArray[np.float16]:
    """Returns the numbers of all rows of a column one after the other."""
    _, offsets, content = column.buffers()
    if not len(column) or content is None:
        return np.empty(0, np.float16)
    ends = np.frombuffer(offsets, np.int32)[column.offset :]
    first, last = int(ends[0]), int(ends[len(column)])
    return np.frombuffer(content, "<f2", (last - first) // _ITEM, first)
