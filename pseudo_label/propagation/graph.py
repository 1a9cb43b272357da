"""A graph of nearest neighbors: its exact search and its normalized weights.

FAISS and its BLAS give other last bits for other numbers of threads. Rows are therefore
searched in blocks of a fixed size, each on one thread, several blocks side by side.
"""

from __future__ import annotations

import concurrent.futures
from typing import Any

import faiss
import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from stage.system import num_cores

#: Rows that are searched at once, on one thread.
_BLOCK_ROWS = 4096


def normalize_rows(features: NDArray[Any]) -> NDArray[np.float32]:
    """Returns features [N,D] as float32 of length 1; zeros stay zeros."""
    features = np.asarray(features, np.float32)
    lengths = np.linalg.norm(features, axis=1, keepdims=True).astype(np.float32)
    return divide(features, lengths)


def divide(
    values: NDArray[np.float32], totals: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Returns values divided by the totals of their rows; as they are where that is 0.

    The values are [N,m], the totals [N,1].
    """
    divisors: NDArray[np.float32] = np.where(totals > 0, totals, np.float32(1))
    return values / divisors


def find_neighbors(
    embeddings: NDArray[np.float32],
    queries: NDArray[np.int64],
    *,
    neighbors: int,
    threads: int | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Returns cosines and positions [Q,n] of the nearest rows, the nearest first.

    Args:
        embeddings: float32 [N,D] of length 1.
        queries: Positions [Q] of rows, which are no neighbors of their own.
        neighbors: Number n of neighbors; fewer if there are not as many other rows.
        threads: Blocks of rows that are searched side by side; None for all cores. It
            has no effect on the result.
    """
    count = max(0, min(neighbors, len(embeddings) - 1))
    index = faiss.IndexFlatIP(embeddings.shape[1])
    index.add(np.ascontiguousarray(embeddings))

    def search(start: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        faiss.omp_set_num_threads(1)  # Of this thread.
        block = queries[start : start + _BLOCK_ROWS]
        cosines, found = index.search(embeddings[block], count + 1)
        # Of equal rows, one's own may be any, or not among the first.
        others = found != block[:, None]
        others[others.all(axis=1), -1] = False
        shape = (len(block), count)
        return cosines[others].reshape(shape), found[others].reshape(shape)

    with concurrent.futures.ThreadPoolExecutor(threads or num_cores()) as pool:
        parts = list(pool.map(search, range(0, len(queries), _BLOCK_ROWS)))
    none = (np.zeros((0, count), np.float32), np.zeros((0, count), np.int64))
    cosines, found = (np.concatenate(part) for part in zip(none, *parts, strict=True))
    return cosines, found


def build_graph(
    embeddings: NDArray[np.float32],
    queries: NDArray[np.int64],
    *,
    neighbors: int,
    threads: int | None = None,
) -> Any:
    """Returns the weights of the graph, a symmetric sparse matrix float32 [N,N].

    Two rows are connected if one is among the nearest of the other. The weight is their
    cosine, 0 if it is negative. The arguments are those of `find_neighbors`; rows that
    are no queries are only connected by others.
    """
    num_rows = len(embeddings)
    cosines, found = find_neighbors(
        embeddings, queries, neighbors=neighbors, threads=threads
    )
    directed = scipy.sparse.csr_matrix(
        (
            np.maximum(cosines, 0).reshape(-1),
            (np.repeat(queries, found.shape[1]), found.reshape(-1)),
        ),
        shape=(num_rows, num_rows),
    )
    graph = directed.maximum(directed.T).tocsr()
    graph.eliminate_zeros()
    graph.sort_indices()
    return graph


def normalize_graph(graph: Any) -> Any:
    """Returns S = D^-1/2 W D^-1/2 of weights W; D has the sums of their rows.

    Rows without weights stay zeros.
    """
    degrees = np.asarray(graph.sum(axis=1)).reshape(-1)
    scale = np.where(degrees > 0, degrees, 1) ** -0.5
    scale = scipy.sparse.diags(scale.astype(np.float32))
    return (scale @ graph @ scale).tocsr()
