"""Writes one group of output shards: the work of a bundle.

The images of the group's input shards are read one by one and wait on local disk as
records, for one worker to mix them; no image crosses a shuffle, and none stays in
memory. A shard is renamed into place when it is whole, so a file that exists is done.
"""

from __future__ import annotations

from stage import import_tensorflow  # noqa: F401, for a worker begins here.

# isort: split
import dataclasses
import functools
import hashlib
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from etils import epath
from numpy.typing import NDArray

from beam_jobs.io import filesystems
from beam_jobs.writing import shard_groups
from beam_jobs.writing.shard_groups import Group
from beam_jobs.writing.spool import Spool, WritingError
from classifier.data import shard_manifest
from classifier.data.examples import Example
from classifier.data.python_reader import read_examples
from classifier.data.sources import Source
from pseudo_label.dataset import records
from pseudo_label.dataset.records import Record
from pseudo_label.deduplication import near_duplicates
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.prediction_set import PredictionSet
from pseudo_label.selection.decision import COLUMNS, SELECTION, Selection, count_copies
from stage import artifact

#: Ten seconds of one process. Others would take four to start, and 400 MB each.
MIN_RECORDS_TO_SPREAD = 200_000
_COLUMNS = (
    *("record_index", "key", "key_hash", "image_sha256", "label", "confidence"),
    *("top_labels", "top_probabilities"),
)
#: Rows that are Python objects at once.
_ROWS_AT_ONCE = 1024
#: What TFRecord's framing adds to a record: its length and two checksums.
_FRAME_BYTES = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class WritingJob:
    """A writing job and the config that identifies it.

    Attributes:
        source: The images that were labeled.
        predictions: What was said of them.
        selection: Which to write, how often.
        selection_directory: Where that is.
        round: Of self-training, from 1 on.
        num_shards: To write.
        output: Directory of the dataset.
    """

    source: Source
    predictions: PredictionSet
    selection: Selection
    selection_directory: str
    round: int
    num_shards: int
    output: str

    @property
    def config(self) -> dict[str, Any]:
        """What decides the content of the dataset."""
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
        """The fingerprint of the teacher; of several, one over theirs."""
        first, *others = self.predictions.teachers
        if not others:
            return first
        return artifact.fingerprint(
            teacher.encode() for teacher in self.predictions.teachers
        )

    @functools.cached_property
    def groups(self) -> tuple[Group, ...]:
        """What one worker does at a time."""
        return shard_groups.plan_groups(
            self.predictions.num_shards,
            self.num_shards,
            max_copies=_most_copies(self.selection),
        )

    @property
    def units(self) -> int:
        """How many processes have something to do that is worth their start."""
        is_large = self.selection.funnel.records >= MIN_RECORDS_TO_SPREAD
        return len(self.groups) if is_large else 1

    def path(self, index: int) -> epath.Path:
        """Returns where an output shard belongs."""
        return epath.Path(self.output) / records.shard_name(index, self.num_shards)

    def without_shards(self) -> WritingJob:
        """Returns what travels to the workers: they look up their shards."""
        source = dataclasses.replace(self.source, shards=())
        return dataclasses.replace(self, source=source)


@dataclasses.dataclass(frozen=True)
class Written:
    """An output shard that is there.

    Attributes:
        index: Its number.
        length: Its records.
        num_bytes: Of those.
    """

    index: int
    length: int
    num_bytes: int


class WriteGroup(beam.DoFn):
    """Writes the output shards of a group that are not there yet."""

    def __init__(self, job: WritingJob) -> None:
        self._job = job

    def setup(self) -> None:
        """Lets the worker read and write wherever Beam can."""
        filesystems.register()

    def process(self, index: int) -> Iterator[Written]:
        """Yields all output shards of the group."""
        job, group = self._job, self._job.groups[index]
        try:
            write_group(job, group)
        except OSError as error:
            first, last = group.outputs[0], group.outputs[-1]
            raise WritingError(f"shards {first} to {last}: {error}") from error
        lengths = _count_records(job, group)
        for output, length in zip(group.outputs, lengths.tolist(), strict=True):
            size = job.path(output).stat().length
            yield Written(output, length, size - length * _FRAME_BYTES)


def write_group(job: WritingJob, group: Group) -> None:
    """Writes the output shards of a group that are missing.

    None of them is published before all images of the group have proved to be right.

    Raises:
        WritingError: If one has not, or there is no room for the records.
        OSError: If something cannot be read or written.
    """
    wanted = {output for output in group.outputs if not job.path(output).exists()}
    if not wanted:
        return
    with Spool(len(group.outputs)) as spool:
        for index in group.inputs:
            for row, copies, image in selected_images(job, index):
                for copy in range(copies):
                    shard = group.shard_of(row["key_hash"], copy)
                    if group.outputs[shard] in wanted:
                        place = prediction_schema.hash_key(f"{row['key']}/{copy}")
                        content = make_record(job, index, row, image, copy)
                        spool.append(shard, place, records.serialize(content))
        for shard, output in enumerate(group.outputs):
            if output in wanted:
                with (
                    artifact.replacing(job.path(output)) as temporary,
                    temporary.open("wb") as file,
                ):
                    file.writelines(spool.read(shard))


def selected_images(
    job: WritingJob, index: int
) -> Iterator[tuple[dict[str, Any], int, bytes]]:
    """Yields each row of an input shard that was selected, its copies and its image.

    Raises:
        WritingError: If the images are not those that were labeled.
        OSError: If they cannot be read.
    """
    _, copies = _read_decisions(job, index)
    if not copies.any():
        return
    rows = _selected_rows(job.predictions.path(index), copies)
    row = next(rows, None)
    count = 0
    shard = shard_manifest.read_shard(job.output, index)
    for example in read_examples(job.source.reader, shard.files):
        if row is not None and row["record_index"] == count:
            if hashlib.sha256(example.image).digest() != row["image_sha256"]:
                raise WritingError(
                    f"shard {index}, row {count} ({row['key']}): the image is "
                    f"not the one that was labeled{_because(example)}"
                )
            yield row, int(copies[count]), example.image
            row = next(rows, None)
        count += 1
    if count != len(copies):
        raise WritingError(f"shard {index}: expected {len(copies)} images, got {count}")


def _selected_rows(
    path: epath.Path, copies: NDArray[np.int64]
) -> Iterator[dict[str, Any]]:
    start = 0
    for rows in prediction_schema.read_rows(path, _COLUMNS):
        is_selected = copies[start : start + rows.num_rows] > 0
        start += rows.num_rows
        selected = rows.filter(pa.array(is_selected))
        for batch in selected.to_batches(max_chunksize=_ROWS_AT_ONCE):
            yield from batch.to_pylist()


def _read_decisions(job: WritingJob, index: int) -> tuple[pa.Table, NDArray[np.int64]]:
    """Returns the rows of an input shard and how often each is written, [rows]."""
    rows = prediction_schema.read_table(job.predictions.path(index), COLUMNS)
    dropped = near_duplicates.read_dropped(job.selection_directory, index)
    return rows, count_copies(rows, job.selection, dropped)


def _count_records(job: WritingJob, group: Group) -> NDArray[np.int64]:
    """Returns how many records each output shard of a group holds, [outputs]."""
    lengths = np.zeros(len(group.outputs), np.int64)
    for index in group.inputs:
        rows, copies = _read_decisions(job, index)
        key_hash = rows["key_hash"].to_numpy()
        for copy in range(copies.max(initial=0)):
            shards = group.shard_of(key_hash[copies > copy], copy)
            lengths += np.bincount(shards.astype(np.int64), minlength=len(lengths))
    return lengths


def _most_copies(selection: Selection) -> int:
    """Returns how often an image is written at the most."""
    return max(
        rule.copies + (rule.extra_cut_off is not None) for rule in selection.classes
    )


def make_record(
    job: WritingJob, shard: int, row: dict[str, Any], image: bytes, copy: int
) -> Record:
    """Returns a record out of a row of the predictions and its image."""
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


def _because(example: Example) -> str:
    return f" ({example.status}: {example.error})" if example.error else ""
