"""Cells: groups of similar images whose graphs are independent of each other.

A cell holds the images nearest to one centroid. Most cells contain no labeled image, so
labels reach their images only through other cells. Labels therefore spread first over
the exact graph of a sample of the images, the landmarks. In the graph of its cell, the
distribution that a landmark received spreads like a label.

A labeled image also reaches the cells whose centroids are nearest to it, so that each
cell holds about a thousand labeled images, or all of them. Only in its own cell does it
look for neighbors; in the others it can be found as one. A cell with too many images,
such as equal ones, is divided into units by a hash, else it is one. A unit is what a
worker takes on.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from pseudo_label.propagation.graph import build_graph, normalize_rows
from pseudo_label.propagation.spreading import (
    UNLABELED,
    SpreadingConfig,
    SpreadLabels,
    find_top_labels,
)

#: Mean number of images of a cell, up to 41 million images.
CELL_ROWS = 10_000
MAX_CELLS = 4096
#: Expected number of images from which a cell is divided; fewer if they need 1 GB.
MAX_UNIT_ROWS = 50_000
#: Mean number of labeled images that reach a cell.
CELL_LABELS = 1000
#: Mean number of images of a cell that its centroid is computed from.
SAMPLES_PER_CELL = 64
_KMEANS_STEPS = 10
_KMEANS_SEED = 1
#: Bytes of an image by feature: as stored, as computed with, and in FAISS.
_BYTES_PER_FEATURE = 10
#: Bytes of an image by neighbor in the graph, and by top class, measured.
_BYTES_PER_LINK = 48
_MAX_EXACT_BYTES = 2**32
_MAX_UNIT_BYTES = 2**30


def row_type(size: int) -> np.dtype[Any]:
    """Returns the record of an image on its way to a unit, with `size` features.

    shard, row: where its prediction is. label: that of a labeled image, else
    `UNLABELED`. is_home: whether its own cell is the unit's. embedding: features.
    """
    return np.dtype(
        [
            ("shard", "<i4"),
            ("row", "<i4"),
            ("label", "<i4"),
            ("is_home", "?"),
            ("embedding", "<f2", (size,)),
        ]
    )


def spread_type(top_k: int) -> np.dtype[Any]:
    """Returns the record of an image on its way back, with its `SpreadLabels`."""
    return np.dtype(
        [
            ("shard", "<i4"),
            ("row", "<i4"),
            ("labels", "<i4", (top_k,)),
            ("shares", "<f4", (top_k,)),
        ]
    )


def count_cells(num_images: int, *, max_exact: int) -> int:
    """Returns the number of cells; 1 for the exact graph of all images.

    Args:
        num_images: Number of images, those with labels included.
        max_exact: Largest number of images of an exact graph.
    """
    if num_images <= max_exact:
        return 1
    return max(2, min(MAX_CELLS, math.ceil(num_images / CELL_ROWS)))


def count_bytes(size: int, *, neighbors: int = 0, top_k: int = 0) -> int:
    """Returns the memory in bytes that an image needs in a graph or a sample.

    Args:
        size: Number of features.
        neighbors: Number of neighbors in the graph; 0 for a sample.
        top_k: Number of top classes; 0 for a sample.
    """
    return _BYTES_PER_FEATURE * size + _BYTES_PER_LINK * (neighbors + top_k)


def limit_rows(
    wanted: int, image_bytes: int, *, num_bytes: int = _MAX_EXACT_BYTES
) -> int:
    """Returns how many images fit into `num_bytes`: at most `wanted`, at least 1.

    By default 4 GB, the limit of an exact graph and of a sample. `image_bytes` are
    those of an image (`count_bytes`).
    """
    return max(1, min(wanted, num_bytes // image_bytes))


@dataclasses.dataclass(frozen=True)
class Cells:
    """How images are divided.

    Attributes:
        centroids: float32 [C,D], of length 1.
        units_per_cell: int64 [C], number of units of each cell.
    """

    centroids: NDArray[np.float32]
    units_per_cell: NDArray[np.int64]

    @property
    def num_units(self) -> int:
        """Number of units of all cells."""
        return int(self.units_per_cell.sum())

    def assign(
        self, embeddings: NDArray[np.float32], *, reach: int = 1
    ) -> NDArray[np.int64]:
        """Returns the nearest cells int64 [B,reach], the nearest first."""
        if len(self.centroids) == 1:
            return np.zeros((len(embeddings), 1), np.int64)
        faiss.omp_set_num_threads(1)
        index = faiss.IndexFlatIP(self.centroids.shape[1])
        index.add(self.centroids)
        cells: NDArray[np.int64] = index.search(embeddings, reach)[1]
        return cells

    def find_units(
        self, cells: NDArray[np.int64], key_hash: NDArray[np.uint64]
    ) -> NDArray[np.int64]:
        """Returns the units int64 [B] of images in cells [B] with such hashes [B]."""
        first = np.cumsum(self.units_per_cell) - self.units_per_cell
        # The remainder, since the landmarks are the images with low hashes.
        place = key_hash % self.units_per_cell[cells].astype(np.uint64)
        return first[cells] + place.astype(np.int64)

    def reach(self, num_labeled: int) -> int:
        """Returns the number of cells that each labeled image reaches."""
        num_cells = len(self.units_per_cell)
        wanted = math.ceil(CELL_LABELS * num_cells / max(1, num_labeled))
        return min(max(1, wanted), num_cells)

    def units_of(self, cell: int) -> range:
        """Returns the units of a cell."""
        first = int(self.units_per_cell[:cell].sum())
        return range(first, first + int(self.units_per_cell[cell]))


def one_cell(size: int) -> Cells:
    """Returns the cell of the exact graph."""
    return Cells(np.zeros((1, size), np.float32), np.ones(1, np.int64))


def find_cells(
    sample: NDArray[np.float32], num_cells: int, *, share: float, image_bytes: int
) -> Cells:
    """Returns cells by k-means of a sample.

    Args:
        sample: float32 [S,D] of length 1.
        num_cells: Number of cells; fewer if the sample is small, 1 if it is empty.
        share: Share of all images in the sample, in (0, 1].
        image_bytes: Bytes of an image in a graph, which limit the size of a unit.
    """
    if not len(sample):
        return one_cell(sample.shape[1])
    num_cells = max(1, min(num_cells, len(sample) // 2))
    faiss.omp_set_num_threads(1)  # More would change the last bits.
    means = faiss.Kmeans(
        sample.shape[1],
        num_cells,
        niter=_KMEANS_STEPS,
        seed=_KMEANS_SEED,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=len(sample) + 1,
    )
    means.train(np.ascontiguousarray(sample))
    centroids: Any = means.centroids
    cells = Cells(normalize_rows(centroids), np.ones(num_cells, np.int64))
    sampled = np.bincount(cells.assign(sample)[:, 0], minlength=num_cells)
    largest = limit_rows(MAX_UNIT_ROWS, image_bytes, num_bytes=_MAX_UNIT_BYTES)
    counts = np.ceil(sampled / share / largest).astype(np.int64)
    return dataclasses.replace(cells, units_per_cell=np.maximum(1, counts))


def spread_in_unit(
    rows: NDArray[Any],
    config: SpreadingConfig,
    *,
    top_k: int,
    threads: int = 1,
    landmarks: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Returns records of `spread_type` of a unit's images, without the labeled ones.

    The shares of an image that no label reaches are zeros.

    Args:
        rows: Records of `row_type`, in any order.
        config: Settings of graph and spreading.
        top_k: Number of classes to return of each image.
        threads: Threads of the search, which have no effect on the result.
        landmarks: Records of `spread_type` of landmarks, by shard and row; those of
            other units may be among them. None for no landmarks.
    """
    is_corpus = rows["label"] == UNLABELED
    rows = rows.take(np.lexsort((rows["row"], rows["shard"], is_corpus)))
    is_corpus = rows["label"] == UNLABELED
    graph = build_graph(
        normalize_rows(rows["embedding"]),
        np.flatnonzero(rows["is_home"]),
        neighbors=config.neighbors,
        threads=threads,
    )
    given = None
    if landmarks is not None and len(landmarks):
        given = _find_given(rows, is_corpus, landmarks)
    spread = find_top_labels(graph, rows["label"], config, top_k=top_k, given=given)
    found = np.zeros(is_corpus.sum(), spread_type(top_k))
    for name in ("shard", "row"):
        found[name] = rows[name][is_corpus]
    found["labels"] = spread.labels[is_corpus]
    found["shares"] = spread.shares[is_corpus]
    return found


def _find_given(
    rows: NDArray[Any], is_corpus: NDArray[np.bool_], landmarks: NDArray[Any]
) -> SpreadLabels:
    """Returns what is known of the landmarks among the rows, zeros for other rows."""
    known, wanted = _places(landmarks), _places(rows)
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    is_known = is_corpus & (known[at] == wanted)
    shape = (len(rows), *landmarks["labels"].shape[1:])
    given = SpreadLabels(np.zeros(shape, np.int32), np.zeros(shape, np.float32))
    given.labels[is_known] = landmarks["labels"][at[is_known]]
    given.shares[is_known] = landmarks["shares"][at[is_known]]
    return given


def _places(rows: NDArray[Any]) -> NDArray[np.int64]:
    """Returns numbers that order records by shard and row."""
    places: NDArray[np.int64] = rows["shard"].astype(np.int64) << 32 | rows["row"]
    return places
