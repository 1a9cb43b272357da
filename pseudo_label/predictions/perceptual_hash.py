"""The difference hash (dHash): equal or a few bits apart for similar images."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

#: Size of the gray thumbnail whose horizontal differences make the hash.
_HASH_HEIGHT, _HASH_WIDTH = 8, 9
_LUMA = np.array([299, 587, 114], np.int64)  # Thousandths, as in ITU-R BT.601.


def perceptual_hashes(pixels: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Returns the difference hash, uint64 [B], of images uint8 [B,S,S,3].

    The gray image is averaged to 8 rows of 9 cells; a bit is set where a cell is
    darker than its right neighbor.
    """
    heights, widths = (
        np.linspace(0, size, cells + 1).round().astype(int)
        for size, cells in zip(
            pixels.shape[1:3], (_HASH_HEIGHT, _HASH_WIDTH), strict=True
        )
    )
    # Integer sums are exact, so hashes are the same on every machine.
    rows = np.stack(
        [
            pixels[:, top:bottom].sum(axis=1, dtype=np.uint32)
            for top, bottom in itertools.pairwise(heights)
        ],
        axis=1,
    )
    sums = np.add.reduceat(rows, widths[:-1], axis=2) @ _LUMA
    columns = np.diff(widths)
    bits = sums[:, :, :-1] * columns[1:] < sums[:, :, 1:] * columns[:-1]
    packed = np.packbits(bits.reshape(len(pixels), -1), axis=1)
    return packed.view(">u8")[:, 0].astype(np.uint64)
