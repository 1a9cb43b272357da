"""The leak guard: rows that are not to be learned from, found with their twins.

A part of a pipeline. What crosses a shuffle is `CANDIDATE` of each image and
table, then a pair for each row that is dropped. Files come out per input shard, sorted,
so they are the same whatever the runner and the number of workers.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.utils import shared
from etils import epath
from numpy.typing import NDArray

from beam_jobs.io import filesystems, shards
from pseudo_label.deduplication import hamming_index, leakage, near_duplicates
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.prediction_set import PredictionSet
from pseudo_label.selection.decision import Dropped
from stage import artifact

#: Of one table, compared by one worker at once: 30 MB, and four times that at work.
_PARTITION_ROWS = 2**20
#: That Beam's local runner holds of each image, by bits: measured, and rounded up.
_LOCAL_BYTES = (150, 300, 1000, 2500)
#: Files of an excluded set that are read side by side.
_OPEN_AT_ONCE = 16
#: What is read of a twin.
_TWIN_COLUMNS = ("key", "image_sha256", "confidence", "key_hash")
#: Above any number of shards.
_SHARDS = 2**32
_ROWS, _PAIRS, _ALIKE = "rows", "pairs", "alike"
_MIX = np.uint64(0xFF51AFD7ED558CCD)  # Of MurmurHash3's last step.

Array = NDArray[Any]
#: A number to group by, then an array's bytes.
Block = tuple[int, bytes]


@dataclasses.dataclass(frozen=True)
class _Job:
    predictions: PredictionSet
    excluded: tuple[PredictionSet, ...]
    set_names: tuple[str, ...]
    bits: int | None
    output: str

    @property
    def sets(self) -> tuple[PredictionSet, ...]:
        """By number: the corpus is 0."""
        return (self.predictions, *self.excluded)

    @property
    def num_partitions(self) -> int:
        """Parts of each table, by the bits that its hashes agree on."""
        return max(1, -(-self.predictions.num_images // _PARTITION_ROWS))


def local_bytes(num_images: int, *, bits: int) -> int:
    """Returns about how much memory Beam's local runner needs to compare images."""
    return num_images * _LOCAL_BYTES[bits]


def delete_dropped(output: epath.PathLike) -> None:
    """Deletes the files that an earlier run has left."""
    directory = epath.Path(output) / near_duplicates.DIRECTORY
    if directory.exists():
        directory.rmtree()


def drop(
    pipeline: beam.Pipeline,
    predictions: PredictionSet,
    excluded: Mapping[str, PredictionSet],
    *,
    bits: int | None,
    output: str,
) -> beam.PCollection[Dropped]:
    """Writes which rows are leaked or duplicates: `near_duplicates.read_dropped`.

    Args:
        pipeline: To add to.
        predictions: The corpus.
        excluded: Sets to keep apart, by the names that they get in the files.
        bits: In which perceptual hashes of twins may differ; None where bytes alone
            count: then there are leaks, but no duplicates.
        output: Directory, in which `dropped` must hold no file.

    Returns:
        One element, which is there when all files are.

    Raises:
        ValueError: If `bits` is out of range.
    """
    if bits is not None:
        hamming_index.check_bits(bits)
    names = ("", *excluded)
    sets = tuple(excluded.values())
    job = _Job(predictions, sets, names, bits, output)
    return pipeline | "Drop" >> _Drop(job)


class _Drop(beam.PTransform):
    """Keeps the stages' names apart from those of the rest of the pipeline."""

    def __init__(self, job: _Job) -> None:
        super().__init__()
        self._job = job

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection[Dropped]:
        read = beam.ParDo(_Read(self._job)).with_output_types(Block)
        read = (
            begin
            | "Shards" >> shards.Shards(self._job.predictions.num_shards)
            | "Read" >> read.with_outputs(main=_ROWS)
        )
        found = (
            read[_ROWS]
            | "GroupRows" >> beam.GroupByKey()
            | "FindDuplicates" >> beam.FlatMap(_find_duplicates, self._job)
        )
        pairs = (
            (read[_PAIRS], found)
            | "Pairs" >> beam.Flatten()
            | "GroupByTwin" >> beam.GroupByKey()
            | "NameTwins" >> beam.FlatMap(_name_twins, self._job)
        )
        return (
            {_PAIRS: pairs, _ALIKE: read[_ALIKE]}
            | "GroupByShard" >> beam.CoGroupByKey()
            | "Write" >> beam.Map(_write_dropped, self._job)
            | "Count" >> beam.CombineGlobally(_add)
        )


class _Read(beam.DoFn):
    """Reads a shard, finds what is leaked, and deals the others to the tables."""

    def __init__(self, job: _Job) -> None:
        self._job = job
        self._shared = shared.Shared()

    def setup(self) -> None:
        filesystems.register()
        if self._job.excluded:  # Once for all threads of the process.
            self._excluded = self._shared.acquire(lambda: _read_excluded(self._job))

    def process(self, index: int) -> Iterator[Any]:
        job = self._job
        columns = [*near_duplicates.COLUMNS]
        if job.excluded:
            columns.append(near_duplicates.BYTES_COLUMN)
        images = prediction_schema.read_table(job.predictions.path(index), columns)
        leaked = np.empty(0, np.int64)
        if job.excluded:
            pairs, alike = leakage.find_leaked(images, self._excluded, shard=index)
            leaked = np.concatenate([pairs["row"], alike["row"]])
            for block in _by_twin(pairs):
                yield beam.pvalue.TaggedOutput(_PAIRS, block)
            if len(alike):
                yield beam.pvalue.TaggedOutput(_ALIKE, (index, alike.tobytes()))
        if job.bits is not None:
            rows = near_duplicates.find_candidates(images, leaked, shard=index)
            rows, alike = near_duplicates.best_of_hash(rows, job.predictions.read_keys)
            if len(alike):
                yield beam.pvalue.TaggedOutput(_ALIKE, (index, alike.tobytes()))
            yield from _deal(rows, job.bits, job.num_partitions)


def _read_excluded(job: _Job) -> leakage.ExcludedImages:
    """Returns the images of all excluded sets, in their order."""
    files = [
        (number, shard, predictions.path(shard))
        for number, predictions in enumerate(job.excluded, start=1)
        for shard in range(predictions.num_shards)
    ]

    def read_images(file: tuple[int, int, epath.Path]) -> pa.Table:
        return prediction_schema.read_table(file[2], leakage.COLUMNS)

    with concurrent.futures.ThreadPoolExecutor(_OPEN_AT_ONCE) as pool:
        parts = list(pool.map(read_images, files))
    places = [np.zeros(len(part), near_duplicates.POSITION) for part in parts]
    for (number, shard, _), place in zip(files, places, strict=True):
        place["match_set"], place["match_shard"] = number, shard
        place["match_row"] = np.arange(len(place))
    return leakage.ExcludedImages.of(
        pa.concat_tables(parts),
        np.concatenate(places),
        bits=job.bits,
    )


def _deal(rows: Array, bits: int, num_partitions: int) -> Iterator[Block]:
    """Yields the rows for each table, those together whose hashes may be."""
    for table, mask in enumerate(hamming_index.masks(bits)):
        keys = rows["hash"] & mask
        keys = (keys ^ (keys >> np.uint64(33))) * _MIX
        # As uint16, which NumPy sorts by counting: there is one for a million rows.
        partitions = ((keys >> np.uint64(33)) % np.uint64(num_partitions)).astype(
            np.uint16
        )
        for partition, part in near_duplicates.split_by(rows, partitions):
            yield table * num_partitions + partition, part.tobytes()


def _find_duplicates(group: tuple[int, Iterable[bytes]], job: _Job) -> Iterator[Block]:
    number, blocks = group
    if job.bits is None:
        return
    pairs = near_duplicates.match_duplicates(
        _join(blocks, near_duplicates.CANDIDATE),
        job.predictions.read_keys,
        bits=job.bits,
        table=number // job.num_partitions,
    )
    yield from _by_twin(pairs)


def _by_twin(pairs: Array) -> Iterator[Block]:
    """Yields pairs by the file that their twins are in."""
    files = pairs["match_set"].astype(np.int64) * _SHARDS + pairs["match_shard"]
    for file, part in near_duplicates.split_by(pairs, files):
        yield file, part.tobytes()


def _name_twins(
    group: tuple[int, Iterable[bytes]], job: _Job
) -> Iterator[tuple[int, tuple[bytes, list[str]]]]:
    """Yields pairs with what their twins' rows say, by the shard of what is dropped."""
    number, shard = divmod(group[0], _SHARDS)
    pairs = _join(group[1], near_duplicates.MATCH)
    twins = prediction_schema.read_table(
        job.sets[number].path(shard), _TWIN_COLUMNS
    ).take(pairs["match_row"])
    named = np.zeros(len(pairs), near_duplicates.NAMED_MATCH)
    for name in near_duplicates.MATCH.names or ():
        named[name] = pairs[name]
    named["confidence"] = twins["confidence"].fill_null(0).to_numpy()
    named["key_hash"] = twins["key_hash"].to_numpy()
    named["digest"] = near_duplicates.to_digests(twins["image_sha256"])
    for index, at in near_duplicates.split_by(np.arange(len(pairs)), pairs["shard"]):
        yield index, (named[at].tobytes(), twins["key"].take(at).to_pylist())


def _write_dropped(group: tuple[int, dict[str, Iterable[Any]]], job: _Job) -> Dropped:
    index, found = group
    named = list(found[_PAIRS])
    rows = near_duplicates.resolve_matches(
        _join([block for block, _ in named], near_duplicates.NAMED_MATCH),
        [key for _, keys in named for key in keys],
        _join(found[_ALIKE], near_duplicates.REPRESENTED),
        prediction_schema.read_table(
            job.predictions.path(index), ["key", near_duplicates.BYTES_COLUMN]
        ),
        shard=index,
        set_names=job.set_names,
    )
    path = near_duplicates.dropped_path(job.output, index)
    path.parent.mkdir(parents=True, exist_ok=True)
    with artifact.replacing(path) as temporary, temporary.open("wb") as file:
        near_duplicates.write_dropped(file, rows)
    leaked = rows["reason"].to_pylist().count(near_duplicates.LEAKED)
    return Dropped(leaked=leaked, duplicate=len(rows) - leaked)


def _add(parts: Iterable[Dropped]) -> Dropped:
    leaked, duplicate = 0, 0
    for part in parts:
        leaked += part.leaked
        duplicate += part.duplicate
    return Dropped(leaked=leaked, duplicate=duplicate)


def _join(blocks: Iterable[bytes], dtype: np.dtype[Any]) -> Array:
    return np.frombuffer(b"".join(blocks), dtype)
