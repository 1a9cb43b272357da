"""Passes of the propagation job: from shards to units, and from units to shards.

A shard or a unit whose file exists is done. Rows travel as bytes of records
(`pseudo_label.propagation.cells`), in blocks of many shards; those who receive them put
them in order, so that the result does not depend on bundles, workers or retries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.transforms.window import GlobalWindows
from etils import epath
from numpy.typing import NDArray

from beam_jobs.io import filesystems
from beam_jobs.propagation.job import PropagationJob, find_missing
from pseudo_label.predictions import embeddings
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.embeddings import EMBEDDING
from pseudo_label.predictions.prediction_set import PredictionSet
from pseudo_label.predictions.schema import TRUE_LABEL, NeighborAgreement
from pseudo_label.propagation import cells as propagation_cells
from pseudo_label.propagation.blending import blend
from pseudo_label.propagation.cells import SAMPLES_PER_CELL, Cells
from pseudo_label.propagation.graph import normalize_rows
from pseudo_label.propagation.spreading import UNLABELED
from stage import artifact, parquet, typed_json
from stage.grouping import split_by
from stage.system import num_cores

#: Bytes of rows that are collected before they are sent on.
_SENT_BYTES = 2**26
#: A number to group by, and the bytes of records.
Block = tuple[int, bytes]
#: Highest hash of a key in a sample of everything: the highest float64 that fits into
#: 64 bits. Of 2^53 hashes one is higher.
_MAX_HASH = 2**64 - 2**11


def read_rows(
    images: PredictionSet, shard: int, *, with_labels: bool = False
) -> Iterator[NDArray[Any]]:
    """Yields records of `cells.row_type` of a shard's images, in blocks.

    They are those with a prediction; with labels, those of images that have one.
    Raises ValueError for what is no embedding of the set's size.
    """
    path, size = images.path(shard), images.embedding_size
    columns = ["label", EMBEDDING, *([TRUE_LABEL] if with_labels else [])]
    first = 0
    for table in prediction_schema.read_rows(path, columns):
        positions = np.flatnonzero(table["label"].is_valid().to_numpy())
        rows = np.zeros(len(positions), propagation_cells.row_type(size))
        rows["shard"], rows["row"] = shard, first + positions
        rows["label"], rows["is_home"] = UNLABELED, True
        rows[EMBEDDING] = embeddings.to_matrix(table, size, path=path, first=first)
        if with_labels:
            labels = table[TRUE_LABEL].fill_null(UNLABELED).to_numpy()[positions]
            rows["label"] = labels
            rows = rows[labels != UNLABELED]
        first += table.num_rows
        yield rows


def _to_matrix(
    table: pa.Table,
    name: str,
    size: int,
    bounds: tuple[float, float],
    *,
    path: epath.Path,
    first: int,
) -> NDArray[Any]:
    """Returns a column of lists [B,size] of the rows with a prediction.

    Raises ValueError for lists of other lengths, or of numbers out of bounds. `first`
    is the position of the first row.
    """
    lists = pa.concat_arrays(table[name].chunks)
    is_used = table["label"].is_valid().to_numpy()
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
    bad = is_used & (lengths != size)
    if not bad.any():
        values = lists.filter(pa.array(is_used)).flatten()
        matrix = values.to_numpy(zero_copy_only=False).reshape(-1, size)
        is_right = (matrix >= bounds[0]) & (matrix <= bounds[1])
        bad[is_used] = ~is_right.all(axis=1)
        if not bad.any():
            return matrix
    row = int(np.argmax(bad))
    found = lists.slice(row, 1).flatten().to_numpy(zero_copy_only=False).tolist()
    raise ValueError(
        f"{path}, row {first + row}: expected {size} numbers in "
        f"{bounds[0]:g}..{bounds[1]:g} in {name}, got {typed_json.shown(found)}"
    )


def write_cells(shards: beam.PCollection, job: PropagationJob) -> beam.PCollection:
    """Writes the landmarks and the cells, both found with a sample of the corpus."""
    size = job.predictions.embedding_size
    wanted = max(job.num_cells * SAMPLES_PER_CELL, job.max_landmarks)
    wanted = propagation_cells.limit_rows(wanted, propagation_cells.count_bytes(size))
    share = min(1.0, wanted / job.predictions.num_images)
    return (
        shards
        | "Sample" >> beam.Map(_sample, job.predictions, share)
        | "Collect" >> beam.combiners.ToList()
        | "Write cells" >> beam.Map(_write_sampled, job, share)
    )


def _sample(shard: int, predictions: PredictionSet, share: float) -> bytes:
    """Returns the records of images with the lowest hashes of their keys."""
    is_chosen = _read_hashes(predictions, shard) <= np.uint64(share * _MAX_HASH)
    parts = [rows[is_chosen[rows["row"]]] for rows in read_rows(predictions, shard)]
    return b"".join(rows.tobytes() for rows in parts)


def _read_hashes(images: PredictionSet, shard: int) -> NDArray[np.uint64]:
    """Returns the hashes of the keys [N] of all rows of a shard."""
    table = prediction_schema.read_table(images.path(shard), ["key_hash"])
    hashes: NDArray[np.uint64] = table["key_hash"].to_numpy()
    return hashes


def _write_sampled(blocks: list[bytes], job: PropagationJob, share: float) -> None:
    """Writes what is found with a sample, `share` of the images, the cells last."""
    rows = _join(blocks, propagation_cells.row_type(job.predictions.embedding_size))
    rows = rows.take(np.lexsort((rows["row"], rows["shard"])))
    _write_landmarks(rows, job)
    cells = propagation_cells.find_cells(
        normalize_rows(rows[EMBEDDING]),
        job.num_cells,
        share=share,
        image_bytes=job.image_bytes,
    )
    table = pa.table({"centroid": list(cells.centroids), "units": cells.units_per_cell})
    parquet.write_parquet_file(job.centroids, table, owner=job.fingerprint)


def _write_landmarks(rows: NDArray[Any], job: PropagationJob) -> None:
    """Spreads labels among the labeled images and some of the rows, and writes them."""
    count = min(len(rows), job.max_landmarks)
    landmarks = rows.take(np.arange(count) * len(rows) // max(1, count))
    found = propagation_cells.spread_in_unit(
        np.concatenate([*_labeled_rows(job), landmarks]),
        job.spreading,
        top_k=job.predictions.top_k,
        threads=num_cores(),
    )
    _write_spread(job.landmarks, found, job)


def _labeled_rows(job: PropagationJob) -> Iterator[NDArray[Any]]:
    """Yields labeled images, at most `job.max_labeled`."""
    step, count = -(-job.num_labeled // job.max_labeled), 0
    for shard in range(job.labeled.num_shards):
        for rows in read_rows(job.labeled, shard, with_labels=True):
            yield rows[-count % step :: step]
            count += len(rows)


def read_cells(job: PropagationJob) -> Cells:
    """Returns the cells of the job."""
    size = job.predictions.embedding_size
    if job.num_cells == 1:
        return propagation_cells.one_cell(size)
    columns = ["centroid", "units"]
    table = parquet.read_parquet_file(job.centroids, columns, owner=job.fingerprint)
    centroids = pa.concat_arrays(table["centroid"].chunks).flatten().to_numpy()
    return Cells(
        np.ascontiguousarray(centroids.reshape(-1, size)), table["units"].to_numpy()
    )


class _Sender(beam.DoFn):
    """Collects blocks of a bundle by number, and sends them joined."""

    def start_bundle(self) -> None:
        self._blocks: dict[int, list[bytes]] = {}
        self._num_bytes = 0

    def collect(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Yields joined blocks whenever they are large enough together."""
        for number, block in blocks:
            self._blocks.setdefault(number, []).append(block)
            self._num_bytes += len(block)
            if self._num_bytes >= _SENT_BYTES:
                yield from self._take()

    def finish_bundle(self) -> Iterator[Any]:
        for block in self._take():
            yield GlobalWindows.windowed_value(block)

    def _take(self) -> Iterator[Block]:
        for number, blocks in self._blocks.items():
            yield number, b"".join(blocks)
        self._blocks, self._num_bytes = {}, 0


class SendToUnits(_Sender):
    """Sends the images of a shard to the units whose files are to be made.

    Args:
        job: The job.
        units: The units.
    """

    def __init__(self, job: PropagationJob, units: range) -> None:
        self._job = job
        self._units = units

    def setup(self) -> None:
        """Prepares a worker."""
        filesystems.register()
        self._cells = read_cells(self._job)
        self._is_missing = np.zeros(self._cells.num_units, bool)
        self._is_missing[find_missing(self._job.unit_path, self._units)] = True

    def process(self, shard: int) -> Iterator[Block]:
        """Yields numbers of units, and records of `cells.row_type`.

        The shards of the labeled images follow those of the corpus.
        """
        job = self._job
        labeled = shard - job.predictions.num_shards
        if labeled < 0:
            key_hash = _read_hashes(job.predictions, shard)
            for rows in read_rows(job.predictions, shard):
                yield from self.collect(self._send(rows, key_hash[rows["row"]]))
        else:
            for rows in read_rows(job.labeled, labeled, with_labels=True):
                yield from self.collect(self._send_labeled(rows))

    def _send(
        self, rows: NDArray[Any], key_hash: NDArray[np.uint64]
    ) -> Iterator[Block]:
        near = self._cells.assign(normalize_rows(rows[EMBEDDING]))[:, 0]
        units = self._cells.find_units(near, key_hash)
        is_wanted = self._is_missing[units]
        for unit, part in split_by(rows[is_wanted], units[is_wanted]):
            yield unit, part.tobytes()

    def _send_labeled(self, rows: NDArray[Any]) -> Iterator[Block]:
        reach = self._cells.reach(self._job.num_labeled)
        near = self._cells.assign(normalize_rows(rows[EMBEDDING]), reach=reach)
        for place in range(near.shape[1]):
            rows["is_home"] = place == 0
            for cell, part in split_by(rows, near[:, place]):
                for unit in self._cells.units_of(cell):
                    if self._is_missing[unit]:
                        yield unit, part.tobytes()


class SpreadInUnit(beam.DoFn):
    """Spreads labels among the images of a unit, and writes what they get."""

    def __init__(self, job: PropagationJob) -> None:
        self._job = job

    def setup(self) -> None:
        """Prepares a worker."""
        filesystems.register()
        job = self._job
        self._landmarks = None
        cells = read_cells(job)
        self._reaches_all = cells.reach(job.num_labeled) == len(cells.centroids)
        if job.num_cells > 1:
            self._landmarks = _read_spread(job.landmarks, job)

    def process(self, group: tuple[int, Iterable[bytes]]) -> Iterator[int]:
        """Writes the file of one unit; yields its number."""
        unit, blocks = group
        job = self._job
        path = job.unit_path(unit)
        if not path.exists():
            rows = _join(
                blocks, propagation_cells.row_type(job.predictions.embedding_size)
            )
            self._check_labeled(rows, path)
            found = propagation_cells.spread_in_unit(
                rows,
                job.spreading,
                top_k=job.predictions.top_k,
                # Else a core has a unit of its own.
                threads=num_cores() if job.num_cells == 1 else 1,
                landmarks=self._landmarks,
            )
            _write_spread(path, found, job)
        yield unit

    def _check_labeled(self, rows: NDArray[Any], path: epath.Path) -> None:
        """Raises RuntimeError if labeled images are lost where each reaches all cells.

        Otherwise their number in a unit is not known.
        """
        expected = self._job.num_labeled
        count = int((rows["label"] != UNLABELED).sum())
        if self._reaches_all and count != expected:
            raise RuntimeError(
                f"{path}: expected {expected} labeled images, got {count}; delete the "
                "output and start again"
            )


def _write_spread(path: epath.Path, found: NDArray[Any], job: PropagationJob) -> None:
    """Writes records of `cells.spread_type`."""
    none = np.zeros(len(found), bool)
    columns = {
        "shard": found["shard"],
        "row": found["row"],
        "labels": prediction_schema.to_lists(found["labels"], none),
        "shares": prediction_schema.to_lists(found["shares"], none),
    }
    parquet.write_parquet_file(
        path, pa.table(columns), owner=job.fingerprint, compression="zstd"
    )


def _read_spread(path: epath.Path, job: PropagationJob) -> NDArray[Any]:
    """Returns records of `cells.spread_type`."""
    top_k = job.predictions.top_k
    table = parquet.read_parquet_file(path, owner=job.fingerprint)
    rows = np.zeros(table.num_rows, propagation_cells.spread_type(top_k))
    for name in ("shard", "row"):
        rows[name] = table[name].to_numpy()
    for name in ("labels", "shares"):
        values = pa.concat_arrays(table[name].chunks).flatten().to_numpy()
        rows[name] = values.reshape(-1, top_k)
    return rows


class SendToShards(_Sender):
    """Sends the results of a unit to the shards whose files are to be made."""

    def __init__(self, job: PropagationJob, shards: range) -> None:
        self._job = job
        self._shards = shards

    def setup(self) -> None:
        """Prepares a worker."""
        filesystems.register()

    def process(self, unit: int) -> Iterator[Block]:
        """Yields numbers of shards, and records of `cells.spread_type`.

        The first unit is sent to all shards: others may hold no image of a shard.
        """
        if unit == 0:
            yield from self.collect((shard, b"") for shard in self._shards)
        path = self._job.unit_path(unit)
        if not path.exists():  # No image was near its centroid.
            return
        rows = _read_spread(path, self._job)
        shards = rows["shard"]
        wanted = (shards >= self._shards.start) & (shards < self._shards.stop)
        rows = rows[wanted]
        yield from self.collect(
            (shard, part.tobytes()) for shard, part in split_by(rows, rows["shard"])
        )


class WriteShard(beam.DoFn):
    """Writes the new predictions of a shard."""

    def __init__(self, job: PropagationJob) -> None:
        self._job = job

    def setup(self) -> None:
        """Prepares a worker."""
        filesystems.register()

    def process(self, group: tuple[int, Iterable[bytes]]) -> Iterator[int]:
        """Writes the file of one shard; yields its number."""
        shard, blocks = group
        job = self._job
        path = job.path(shard)
        if not path.exists():
            spread = _join(blocks, propagation_cells.spread_type(job.predictions.top_k))
            spread = spread.take(np.argsort(spread["row"]))
            before = job.predictions.path(shard)
            agreement = _compare(before, spread)
            with artifact.replacing(path) as temporary, temporary.open("wb") as file:
                prediction_schema.write_shard(
                    file,
                    _blended_tables(before, spread, job),
                    fingerprint=job.fingerprint,
                    shard=prediction_schema.read_facts(before).shard,
                    more=job.more_columns,
                    agreement=agreement,
                )
        yield shard


def _compare(path: epath.Path, spread: NDArray[Any]) -> NeighborAgreement:
    """Returns how often a shard's predictions have the class of the spread labels.

    Raises RuntimeError unless each image with a prediction has come back once.
    """
    labels = prediction_schema.read_table(path, ["label"])["label"]
    expected = labels.is_valid().to_numpy()
    counts = np.bincount(spread["row"], minlength=len(expected))
    if not np.array_equal(counts, expected):
        row = int(np.argmax(counts != expected))
        raise RuntimeError(
            f"{path}, row {row}: expected {expected[row]:d} results from the cells, "
            f"got {counts[row]}; delete the output and start again"
        )
    reached = spread[spread["shares"][:, 0] > 0]
    same = labels.take(reached["row"]).to_numpy() == reached["labels"][:, 0]
    return NeighborAgreement(compared=len(same), same=int(same.sum()))


def _blended_tables(
    path: epath.Path, spread: NDArray[Any], job: PropagationJob
) -> Iterator[pa.Table]:
    names = prediction_schema.schema(*job.more_columns).names
    top_k = job.predictions.top_k
    highest = len(job.predictions.class_names) - 1
    first = 0
    for table in prediction_schema.read_rows(path, names):
        end = first + table.num_rows
        start, stop = np.searchsorted(spread["row"], [first, end])
        at = {"path": path, "first": first}
        labels = _to_matrix(table, "top_labels", top_k, (0, highest), **at)
        probabilities = _to_matrix(table, "top_probabilities", top_k, (0, 1), **at)
        yield _blend(table, labels, probabilities, spread[start:stop], job)
        first = end


def _blend(
    table: pa.Table,
    top_labels: NDArray[np.int32],
    top_probabilities: NDArray[np.float32],
    spread: NDArray[Any],
    job: PropagationJob,
) -> pa.Table:
    """Returns a block of rows with blended distributions.

    `top_labels` and `top_probabilities` [B,k] are those of the rows with a prediction,
    and `spread` [B] their spread labels.
    """
    is_missing = table["label"].is_null().to_numpy()
    labels, probabilities = blend(
        top_labels,
        top_probabilities,
        spread,
        share=job.blend,
        num_classes=len(job.predictions.class_names),
        tie_disagreements=job.tie_disagreements,
    )
    top_columns = prediction_schema.top_columns(
        prediction_schema.scatter(labels, is_missing),
        prediction_schema.scatter(probabilities, is_missing),
        is_missing,
    )
    return prediction_schema.replace_columns(table, top_columns)


def _join(blocks: Iterable[bytes], dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.frombuffer(b"".join(blocks), dtype)
