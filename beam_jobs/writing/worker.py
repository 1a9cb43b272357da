"""Writes one group of output shards, the unit of work.

One worker reads the images of the group's input shards, spools them to local disk as
records, and writes these in the order of a hash; no image crosses a shuffle or stays in
memory. A shard is renamed into place when it is complete. A file that is there already
is read: unless it holds exactly its records, it is written again.
"""

from __future__ import annotations

from stage import import_tensorflow  # noqa: F401, first import of a worker

# isort: split
import dataclasses
import functools
import hashlib
from array import array
from collections.abc import Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from etils import epath
from numpy.typing import NDArray

from beam_jobs.io import filesystems
from beam_jobs.writing import shard_groups
from beam_jobs.writing.selected_images import COLUMNS, join_images
from beam_jobs.writing.shard_groups import Group
from beam_jobs.writing.spool import Spool, WritingError
from classifier.data import shard_manifest, tfrecord
from classifier.data.python_reader import read_examples
from classifier.data.sources import Source
from pseudo_label.dataset import records
from pseudo_label.dataset.records import Record
from pseudo_label.predictions.prediction_set import PredictionSet, teacher_fingerprint
from pseudo_label.selection import kept_rows
from pseudo_label.selection.decision import SELECTION, Selection
from stage import artifact, parts
from stage.parts import WHOLE, Part
from stage.tfds_directory import FRAME_BYTES
from stage.typed_json import Count

#: Minimum number of records for several processes. One writes as many in ten seconds;
#: each further one takes four seconds to start, and 400 MB.
MIN_RECORDS_TO_SPREAD = 200_000
_COLUMNS = (
    *COLUMNS,
    *("record_index", "key_hash", "label", "confidence"),
    *("top_labels", "top_probabilities"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WritingJob:
    """A writing job and the config that identifies it.

    Attributes:
        source: The labeled images.
        predictions: Their predictions.
        selection: Rule for which images to write, and how often.
        selection_directory: Directory of the selection.
        round: Round of self-training, from 1 on.
        num_shards: Number of output shards.
        output: Directory of the dataset.
        part: Part of the groups that this process writes.
    """

    source: Source
    predictions: PredictionSet
    selection: Selection
    selection_directory: str
    round: int
    num_shards: int
    output: str
    part: Part = WHOLE

    @property
    def config(self) -> dict[str, Any]:
        """Everything that decides the content of the dataset."""
        decision = epath.Path(self.selection_directory) / SELECTION
        return {
            "record_version": records.VERSION,
            "predictions": self.predictions.fingerprint,
            "selection": hashlib.sha256(decision.read_bytes()).hexdigest(),
            "settings": dataclasses.asdict(self.selection.settings),
            "teacher": self.teacher,
            "round": self.round,
            "num_shards": self.num_shards,
        }

    @functools.cached_property
    def teacher(self) -> str:
        """Fingerprint of the teacher, or a hash of those of several teachers."""
        return teacher_fingerprint(self.predictions.teachers)

    @functools.cached_property
    def groups(self) -> tuple[Group, ...]:
        """The units of work."""
        return shard_groups.plan_groups(
            self.predictions.num_shards,
            self.num_shards,
            max_copies=max(
                rule.copies + (rule.extra_cut_off is not None)
                for rule in self.selection.classes
            ),
        )

    @property
    def units(self) -> int:
        """Number of processes that are worth their start."""
        is_large = self.selection.funnel.records >= MIN_RECORDS_TO_SPREAD
        return len(self.own_groups) if is_large else 1

    @property
    def own_groups(self) -> range:
        """Numbers of the groups of the part."""
        return self.part.take(len(self.groups))

    def note(self, group: int) -> epath.Path:
        """Returns the path of what a part says of a group that it has written."""
        return epath.Path(self.output) / f"{parts.PREFIX}group-{group:05d}.json"

    def path(self, index: int) -> epath.Path:
        """Returns the path of an output shard."""
        return epath.Path(self.output) / records.shard_name(index, self.num_shards)

    def without_shards(self) -> WritingJob:
        """Returns a small copy for the workers, which read shards from the manifest."""
        source = dataclasses.replace(self.source, shards=())
        return dataclasses.replace(self, source=source)


@dataclasses.dataclass(frozen=True)
class WrittenShard:
    """A finished output shard.

    Attributes:
        index: Number of the shard.
        length: Number of records.
        num_bytes: Size of the records without framing.
    """

    index: Count
    length: Count
    num_bytes: Count


@dataclasses.dataclass(frozen=True)
class WrittenGroup:
    """The finished output shards of a group, as a part notes them for the last one."""

    shards: tuple[WrittenShard, ...]


class WriteGroup(beam.DoFn):
    """Writes the missing output shards of a group."""

    def __init__(self, job: WritingJob) -> None:
        self._job = job

    def setup(self) -> None:
        """Registers Beam's file systems."""
        filesystems.register()

    def process(self, index: int) -> Iterator[WrittenShard]:
        """Writes a group; yields all of its output shards."""
        job, group = self._job, self._job.groups[index]
        try:
            expected = _expected_sort_keys(job, group)
            unwritten = _find_unwritten(job, expected)
            write_group(job, group, {output: expected[output] for output in unwritten})
            written = _describe_group(job, expected)
            if not job.part.is_whole:
                artifact.write_json(job.note(index), dataclasses.asdict(written))
            yield from written.shards
        except OSError as error:
            first, last = group.outputs[0], group.outputs[-1]
            raise WritingError(f"shards {first} to {last}: {error}") from error


def _describe_group(
    job: WritingJob, expected: Mapping[int, NDArray[np.uint64]]
) -> WrittenGroup:
    shards = []
    for output, sort_keys in expected.items():
        size, length = job.path(output).stat().length, len(sort_keys)
        shards.append(WrittenShard(output, length, size - length * FRAME_BYTES))
    return WrittenGroup(tuple(shards))


def write_group(
    job: WritingJob, group: Group, wanted: Mapping[int, NDArray[np.uint64]]
) -> None:
    """Writes some output shards of a group, after checking all its images.

    `wanted` has the sort keys of the records of each, ascending. Raises WritingError if
    the records or the length of a file are others.
    """
    if not wanted:
        return
    with Spool(len(group.outputs)) as spool:
        for index in group.inputs:
            for row, copies, image in selected_images(job, index):
                for copy in range(copies):
                    shard = group.shard_of(row["key_hash"], copy)
                    if group.outputs[shard] in wanted:
                        record = make_record(job, index, row, image, copy)
                        spool.append(
                            shard,
                            records.sort_key(row["key"], copy),
                            records.serialize(record),
                        )
        for shard, output in enumerate(group.outputs):
            if output in wanted:
                _write_shard(job.path(output), spool, shard, wanted[output])


def _write_shard(
    path: epath.Path, spool: Spool, shard: int, expected: NDArray[np.uint64]
) -> None:
    found = spool.sort_keys(shard)
    if not np.array_equal(found, expected):
        raise WritingError(
            f"{path}: expected {len(expected):,} records, got {len(found):,} others"
        )
    with artifact.replacing(path) as temporary:
        with temporary.open("wb") as file:
            file.writelines(spool.read(shard))
        size = temporary.stat().length
        if size != spool.num_bytes(shard):
            raise WritingError(
                f"{path}: wrote {spool.num_bytes(shard):,} bytes, but the file has "
                f"{size:,}; check the disk"
            )


def _expected_sort_keys(job: WritingJob, group: Group) -> dict[int, NDArray[np.uint64]]:
    """Returns the sort keys, uint64 [records], ascending, of each output shard."""
    found: dict[int, list[int]] = {output: [] for output in group.outputs}
    for index in group.inputs:
        rows, copies = _read_decisions(job, index)
        kept = np.flatnonzero(copies)
        keys, key_hashes = (
            rows[name].take(kept).to_pylist() for name in ("key", "key_hash")
        )
        for key, key_hash, count in zip(keys, key_hashes, copies[kept], strict=True):
            for copy in range(count):
                output = group.outputs[group.shard_of(key_hash, copy)]
                found[output].append(records.sort_key(key, copy))
    return {
        output: np.sort(np.array(sort_keys, np.uint64))
        for output, sort_keys in found.items()
    }


def _find_unwritten(
    job: WritingJob, expected: Mapping[int, NDArray[np.uint64]]
) -> set[int]:
    """Returns the output shards whose files do not hold exactly their records."""
    found = {output: _read_sort_keys(job.path(output)) for output in expected}
    return {
        output
        for output, sort_keys in found.items()
        if sort_keys is None or not np.array_equal(sort_keys, expected[output])
    }


def _read_sort_keys(path: epath.Path) -> NDArray[np.uint64] | None:
    """Returns the sort key of each record, uint64 [records]; None if one is broken."""
    if not path.exists():
        return None
    sort_keys = array("Q")
    with path.open("rb") as file:
        for content in tfrecord.read_records(file, path.name):
            if isinstance(content, tfrecord.Broken):
                return None
            try:
                sort_keys.append(records.sort_key(*records.parse_identity(content)))
            except ValueError:
                return None
    return np.array(sort_keys, np.uint64)


def selected_images(
    job: WritingJob, index: int
) -> Iterator[tuple[dict[str, Any], int, bytes]]:
    """Yields each selected row of an input shard, its number of copies and its image.

    Raises WritingError if an image is not the labeled one.
    """
    _, copies = _read_decisions(job, index)
    if not copies.any():
        return
    rows = kept_rows.read_kept(job.predictions.path(index), copies, _COLUMNS)
    shard = shard_manifest.read_shard(job.output, index)
    examples = read_examples(job.source.reader, shard.files)
    yield from join_images(rows, copies, examples, shard=index)


def _read_decisions(job: WritingJob, index: int) -> tuple[pa.Table, NDArray[np.int64]]:
    """Returns the rows of an input shard and the copies to write of each, [rows]."""
    return kept_rows.read_decisions(
        job.predictions, job.selection, job.selection_directory, index
    )


def make_record(
    job: WritingJob, shard: int, row: dict[str, Any], image: bytes, copy: int
) -> Record:
    """Returns the record of a row of the predictions and its image."""
    return Record(
        image=image,
        label=row["label"],
        confidence=row["confidence"],
        top_labels=row["top_labels"],
        top_probabilities=row["top_probabilities"],
        key=row["key"],
        source=records.source_name(shard),
        row=row["record_index"],
        teacher=job.teacher,
        round=job.round,
        copy=copy,
    )
