"""Finds leaked rows and duplicates, each with the image it matches.

A `CANDIDATE` per image and hash table crosses a shuffle, then a `MATCH` per dropped
row. Each input shard gets a file of its own, sorted by row, so that the files depend
neither on the runner nor on the number of workers.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.utils import shared
from etils import epath
from numpy.typing import NDArray

from beam_jobs.io import filesystems, shards
from pseudo_label.deduplication import (
    hamming_index,
    leakage,
    near_duplicates,
    similarity,
)
from pseudo_label.deduplication.near_duplicates import Array, DroppedCounts
from pseudo_label.predictions import embeddings
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.embeddings import EMBEDDING
from pseudo_label.predictions.prediction_set import PredictionSet
from stage.grouping import split_by
from stage.system import read_in_parallel

#: Rows of a partition of a hash table, the unit that a worker compares: 30 MB, 120 MB
#: during the comparison.
_PARTITION_ROWS = 2**20
#: Bytes that Beam's local runner takes per image, by bits: measured, rounded up.
LOCAL_BYTES = (150, 300, 1000, 2500)
#: Upper limit of a shard number.
_MAX_SHARDS = 2**32
_CANDIDATES, _MATCHES, _REPRESENTED = "candidates", "matches", "represented"
_EMBEDDED = "embedded"
#: Bytes of embedded candidates that cross a shuffle together.
_SENT_BYTES = 2**26
#: A number to group by, and the bytes of an array.
Block = tuple[int, bytes]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DroppingJob:
    """Which images to compare.

    Attributes:
        predictions: The corpus.
        excluded: Sets to keep out, by their names in the files.
        bits: Maximum distance of the perceptual hashes of matching images; None to
            find leaks of the same bytes only, and no duplicates, by hash.
        similarity: Lowest cosine of the embeddings of matching images; None to find
            nothing by embeddings.
        output: Directory whose `dropped` must not contain files.
        selection: Fingerprint of the selection, which the files repeat.
    """

    predictions: PredictionSet
    excluded: Mapping[str, PredictionSet]
    bits: int | None
    output: str
    similarity: float | None = None
    selection: str = ""

    def __post_init__(self) -> None:
        if self.bits is not None:
            hamming_index.check_bits(self.bits)
        if self.similarity is not None:
            similarity.check_similarity(self.similarity)

    @property
    def sets(self) -> list[PredictionSet]:
        """All sets by number: the corpus is 0."""
        return [self.predictions, *self.excluded.values()]

    @property
    def num_partitions(self) -> int:
        """Partitions of each hash table."""
        return max(1, math.ceil(self.predictions.num_images / _PARTITION_ROWS))


def local_embedded_bytes(size: int) -> int:
    """Returns the bytes that Beam's local runner takes per image of D features."""
    return 3 * near_duplicates.embedded_type(size).itemsize


def delete_dropped(output: epath.PathLike) -> None:
    """Deletes the files of an earlier run."""
    directory = epath.Path(output) / near_duplicates.DIRECTORY
    if directory.exists():
        directory.rmtree()


@beam.ptransform_fn  # type: ignore[untyped-decorator]
def drop(
    begin: beam.pvalue.PBegin, job: DroppingJob
) -> beam.PCollection[DroppedCounts]:
    """Writes the leaked and duplicate rows for `near_duplicates.read_dropped`.

    Returns one element, the number of rows, when all files are written.
    """
    read = beam.ParDo(_Read(job)).with_output_types(Block)
    read = (
        begin
        | "Shards" >> shards.Shards(job.predictions.num_shards)
        | "Read" >> read.with_outputs(main=_CANDIDATES)
    )
    found = (
        read[_CANDIDATES]
        | "GroupCandidates" >> beam.GroupByKey()
        | "FindDuplicates" >> beam.FlatMap(_find_duplicates, job)
    )
    similar = (
        read[_EMBEDDED]
        | "GroupByClass" >> beam.GroupByKey()
        | "FindSimilar" >> beam.FlatMap(_find_similar, job)
    )
    matches = (
        (read[_MATCHES], found, similar)
        | "Matches" >> beam.Flatten()
        | "GroupByMatch" >> beam.GroupByKey()
        | "NameMatches" >> beam.FlatMap(_name_matches, job)
    )
    return (
        {_MATCHES: matches, _REPRESENTED: read[_REPRESENTED]}
        | "GroupByShard" >> beam.CoGroupByKey()
        | "Write" >> beam.Map(_write_dropped, job)
        | "Count" >> beam.CombineGlobally(_add)
    )


class _Read(beam.DoFn):
    """Finds the leaked rows of a shard, assigns the others to the hash tables."""

    def __init__(self, job: DroppingJob) -> None:
        self._job = job
        self._shared = shared.Shared()

    def setup(self) -> None:
        filesystems.register()
        if self._job.excluded:  # Shared by all threads of the process.
            self._excluded = self._shared.acquire(lambda: _read_excluded(self._job))

    def process(self, index: int) -> Iterator[Any]:
        job = self._job
        columns = [*near_duplicates.COLUMNS]
        if job.excluded:
            columns.append(near_duplicates.BYTES_COLUMN)
        images, halves = _read_images(job, job.predictions, index, columns)
        leaked = np.empty(0, np.int64)
        if job.excluded:
            matches, represented = leakage.find_leaked(
                images, self._excluded, shard=index, halves=halves
            )
            leaked = np.concatenate([matches["row"], represented["row"]])
            for block in _by_match(matches):
                yield beam.pvalue.TaggedOutput(_MATCHES, block)
            yield from _tag_represented(index, represented)
        rows = near_duplicates.find_candidates(images, leaked, shard=index)
        if halves is not None:
            labeled = np.flatnonzero(images["label"].is_valid().to_numpy())
            yield from _send_embedded(
                rows, halves[np.searchsorted(labeled, rows["row"])]
            )
        elif job.bits is not None:
            # Not with embeddings, whose matches depend on more than the hash.
            rows, represented = near_duplicates.best_of_hash(
                rows, job.predictions.read_keys
            )
            yield from _tag_represented(index, represented)
        if job.bits is not None:
            yield from _partition(rows, job.bits, job.num_partitions)


def _read_images(
    job: DroppingJob, predictions: PredictionSet, shard: int, columns: Sequence[str]
) -> tuple[pa.Table, NDArray[np.float16] | None]:
    """Returns columns of all rows of a shard, and the embeddings [R,D] if they count.

    The R embeddings are those of the rows with a prediction.
    """
    path = predictions.path(shard)
    if job.similarity is None:
        return prediction_schema.read_table(path, columns), None
    columns = list(dict.fromkeys([*columns, "label", EMBEDDING]))
    images = prediction_schema.read_table(path, columns)
    halves = embeddings.to_matrix(
        images, predictions.embedding_size, path=path, first=0
    )
    return images.drop_columns([EMBEDDING]), halves


def _send_embedded(rows: Array, halves: NDArray[np.float16]) -> Iterator[Any]:
    """Yields candidates with their embeddings by class."""
    embedded = np.zeros(len(rows), near_duplicates.embedded_type(halves.shape[1]))
    for name in near_duplicates.CANDIDATE.names or ():
        embedded[name] = rows[name]
    embedded[EMBEDDING] = halves
    step = max(1, _SENT_BYTES // embedded.itemsize)
    for label, part in split_by(embedded, embedded["label"]):
        for start in range(0, len(part), step):
            block = int(label), part[start : start + step].tobytes()
            yield beam.pvalue.TaggedOutput(_EMBEDDED, block)


def _tag_represented(index: int, represented: Array) -> Iterator[Any]:
    if len(represented):
        block = index, represented.tobytes()
        yield beam.pvalue.TaggedOutput(_REPRESENTED, block)


def _read_excluded(job: DroppingJob) -> leakage.ExcludedIndex:
    """Returns the images of all excluded sets, in their order."""
    files = [
        (number, shard, predictions)
        for number, predictions in enumerate(job.excluded.values(), start=1)
        for shard in range(predictions.num_shards)
    ]

    def read_images(
        file: tuple[int, int, PredictionSet],
    ) -> tuple[pa.Table, NDArray[np.float16] | None]:
        return _read_images(job, file[2], file[1], leakage.COLUMNS)

    tables, halves = [], []
    positions = []
    for (number, shard, _), (table, found) in zip(
        files, read_in_parallel(read_images, files), strict=True
    ):
        position = np.zeros(len(table), near_duplicates.POSITION)
        position["match_set"], position["match_shard"] = number, shard
        position["match_row"] = np.arange(len(table))
        positions.append(position)
        tables.append(table.select(leakage.COLUMNS))
        if found is not None:
            is_missing = table["label"].is_null().to_numpy()
            halves.append(prediction_schema.scatter(found, is_missing))
    return leakage.ExcludedIndex(
        pa.concat_tables(tables),
        np.concatenate(positions),
        bits=job.bits,
        lowest=job.similarity,
        halves=np.concatenate(halves) if halves else None,
    )


def _partition(rows: Array, bits: int, num_partitions: int) -> Iterator[Block]:
    """Yields candidates by hash table and partition.

    Rows of a class at most `bits` bits apart share a partition of at least one table.
    """
    for table, mask in enumerate(hamming_index.masks(bits)):
        keys = near_duplicates.class_keys(rows, mask)
        keys = (keys ^ (keys >> np.uint64(33))) * near_duplicates.MULTIPLIER
        # NumPy sorts uint16 by counting; it suffices for one partition per 2**20 rows.
        partitions = ((keys >> np.uint64(33)) % np.uint64(num_partitions)).astype(
            np.uint16
        )
        for partition, part in split_by(rows, partitions):
            yield table * num_partitions + partition, part.tobytes()


def _find_duplicates(
    group: tuple[int, Iterable[bytes]], job: DroppingJob
) -> Iterator[Block]:
    number, blocks = group
    if job.bits is None:
        return
    matches = near_duplicates.match_duplicates(
        _join(blocks, near_duplicates.CANDIDATE),
        job.predictions.read_keys,
        bits=job.bits,
        table=number // job.num_partitions,
    )
    yield from _by_match(matches)


def _find_similar(
    group: tuple[int, Iterable[bytes]], job: DroppingJob
) -> Iterator[Block]:
    _, blocks = group
    if job.similarity is None:
        return
    matches = near_duplicates.match_similar(
        _join(blocks, near_duplicates.embedded_type(job.predictions.embedding_size)),
        job.predictions.read_keys,
        lowest=job.similarity,
    )
    yield from _by_match(matches)


def _by_match(matches: Array) -> Iterator[Block]:
    """Yields matches by the file of the matching image."""
    files = matches["match_set"].astype(np.int64) * _MAX_SHARDS + matches["match_shard"]
    for file, part in split_by(matches, files):
        yield file, part.tobytes()


def _name_matches(
    group: tuple[int, Iterable[bytes]], job: DroppingJob
) -> Iterator[tuple[int, tuple[bytes, list[str]]]]:
    """Yields matches with columns of the matching row, by the shard of the dropped."""
    number, shard = divmod(group[0], _MAX_SHARDS)
    matches = _join(group[1], near_duplicates.MATCH)
    matching = prediction_schema.read_table(
        job.sets[number].path(shard), ["key", "key_hash", "confidence", "image_sha256"]
    ).take(matches["match_row"])
    named = np.zeros(len(matches), near_duplicates.NAMED_MATCH)
    for name in near_duplicates.MATCH.names or ():
        named[name] = matches[name]
    named["confidence"] = matching["confidence"].fill_null(0).to_numpy()
    named["key_hash"] = matching["key_hash"].to_numpy()
    named["digest"] = near_duplicates.to_digests(matching["image_sha256"])
    for index, at in split_by(np.arange(len(matches)), matches["shard"]):
        yield index, (named[at].tobytes(), matching["key"].take(at).to_pylist())


def _write_dropped(
    group: tuple[int, dict[str, Iterable[Any]]], job: DroppingJob
) -> DroppedCounts:
    index, grouped = group
    named = list(grouped[_MATCHES])
    images = prediction_schema.read_table(
        job.predictions.path(index), ["key", near_duplicates.BYTES_COLUMN, "label"]
    )
    rows = near_duplicates.resolve_matches(
        _join([block for block, _ in named], near_duplicates.NAMED_MATCH),
        [key for _, keys in named for key in keys],
        _join(grouped[_REPRESENTED], near_duplicates.REPRESENTED),
        images,
        shard=index,
        set_names=["", *job.excluded],
    )
    near_duplicates.write_dropped(job.output, index, rows, selection=job.selection)
    labels = images["label"].take(rows["record_index"])
    return Counter(zip(rows["reason"].to_pylist(), labels.to_pylist(), strict=True))


def _add(counts: Iterable[DroppedCounts]) -> DroppedCounts:
    return sum(counts, Counter())


def _join(blocks: Iterable[bytes], dtype: np.dtype[Any]) -> Array:
    return np.frombuffer(b"".join(blocks), dtype)
