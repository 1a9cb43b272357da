"""The writing job: re-read what was selected, mix it, write a TFDS dataset.

The only job in which image bytes cross a shuffle, and only those that are kept.
"""

from __future__ import annotations

from classifier import tensorflow_first  # noqa: F401, for a worker begins here.

# isort: split
import dataclasses
import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow_datasets as tfds
from apache_beam.options.pipeline_options import PipelineOptions
from etils import epath
from numpy.typing import NDArray

from beam_jobs import filesystems, manifest, runners, selecting, sources
from beam_jobs.prediction_set import PredictionSet, open_predictions
from classifier import artifact, tfrecord
from classifier.reading import Example, read_examples
from classifier.sources import Shard, Source
from pseudo_label import prediction, record, select
from pseudo_label.record import Record
from pseudo_label.select import Selection

RECORDS_PER_SHARD = 4096
MIN_SHARDS = 4
_COLUMNS = (
    *select.COLUMNS,
    "record_index",
    "image_sha256",
    "top_labels",
    "top_probabilities",
)
#: Place in an output shard, then the serialized record.
Placed = tuple[int, bytes]

filesystems.register()


@dataclasses.dataclass(frozen=True)
class Job:
    """A writing job and the config that identifies it."""

    source: Source
    predictions: PredictionSet
    selection: Selection
    num_shards: int
    output: str

    @property
    def config(self) -> dict[str, Any]:
        """What decides the content of the dataset."""
        return {
            "predictions": self.predictions.fingerprint,
            "settings": dataclasses.asdict(self.selection.settings),
            "num_shards": self.num_shards,
        }

    def without_shards(self) -> Job:
        """Returns what travels to the workers: they look up their shard."""
        source = dataclasses.replace(self.source, shards=())
        return dataclasses.replace(self, source=source)


def plan(
    source: Source, *, predictions: str, selection: str, num_shards: int, output: str
) -> Job:
    """Returns the job, after checking that its three inputs belong together.

    Raises:
        ValueError: If they do not, or nothing was selected.
        FileNotFoundError: If one is not there.
    """
    prediction_set = open_predictions(predictions)
    decision = selecting.open_selection(selection, prediction_set)
    source = manifest.match(source, predictions, allow_new_shards=False)
    config = artifact.read_json(epath.Path(predictions) / artifact.CONFIG)
    if config["images"] != source.describe():
        raise ValueError(
            f"{source.spec} is not what {predictions} was made of: expected "
            f"{config['images']}, got {source.describe()}"
        )
    records = decision.funnel.records
    if records == 0:
        raise ValueError(f"{selection} keeps no image; lower --confidence_threshold")
    if num_shards < 0:
        raise ValueError(f"num_shards must be >= 0, got {num_shards}")
    by_rule = max(MIN_SHARDS, -(-records // RECORDS_PER_SHARD))
    return Job(source, prediction_set, decision, num_shards or by_rule, output)


def run(job: Job, options: PipelineOptions) -> None:
    """Writes the shards and, when they are all there, the metadata."""
    output = epath.Path(job.output)
    artifact.delete_unfinished(output)
    manifest.freeze(job.source, output, allow_new_shards=False)
    num_input_shards = len(job.source.shards)
    job = job.without_shards()

    def build(pipeline: beam.Pipeline) -> None:
        # Also a shard that gets no record has to be written.
        markers = pipeline | "Markers" >> beam.Create(
            [(index, (-1, b"")) for index in range(job.num_shards)]
        )
        records = (
            pipeline
            | "Shards" >> sources.Shards(num_input_shards)
            | "Read" >> beam.ParDo(_ReadSelected(job))
        )
        _ = (
            (markers, records)
            | beam.Flatten()
            | beam.GroupByKey()
            | "Write" >> beam.Map(_write_shard, job.num_shards, job.output)
            | beam.combiners.ToList()
            | "Metadata" >> beam.Map(_write_metadata, job)
        )

    runners.run_pipeline(build, options, may_shuffle=True)


def finish(job: Job) -> str:
    """Checks the dataset against the selection; returns what was written, in words.

    Raises:
        RuntimeError: If it has another number of records.
    """
    info = tfds.builder_from_directory(job.output).info
    written = info.splits[record.SPLIT].num_examples
    if written != job.selection.funnel.records:
        raise RuntimeError(
            f"expected {job.selection.funnel.records} records, wrote {written}"
        )
    (epath.Path(job.output) / manifest.MANIFEST).unlink(missing_ok=True)
    return f"wrote {written:,} records into {job.num_shards} shards of {job.output}"


class _ReadSelected(beam.DoFn):
    """Reads the images of one input shard that were selected."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def setup(self) -> None:
        filesystems.register()
        predictions = self._job.predictions
        self._features = record.features(
            predictions.class_names, top_k=predictions.top_k
        )

    def process(self, index: int) -> Iterator[tuple[int, Placed]]:
        """Yields output shard, place in it and record, once for each copy."""
        path = self._job.predictions.path(index)
        rows = pa.concat_tables(prediction.read_rows(path, _COLUMNS))
        copies = select.count_copies(rows, self._job.selection)
        if not copies.any():
            return
        shard = manifest.read_shard(self._job.output, index)
        for row, image in _selected_images(self._job.source, shard, rows, copies):
            for copy in range(int(copies[row["record_index"]])):
                content = _make_record(row, image, shard, copy)
                place = prediction.hash_key(f"{row['key']}/{copy}")
                # Copies of one image go to neighboring shards.
                output_shard = (row["key_hash"] + copy) % self._job.num_shards
                yield output_shard, (place, record.serialize(content, self._features))


def _selected_images(
    source: Source, shard: Shard, rows: pa.Table, copies: NDArray[np.int64]
) -> Iterator[tuple[dict[str, Any], bytes]]:
    count = 0
    for index, example in enumerate(read_examples(source.reader, shard.files)):
        count += 1
        if index < len(copies) and copies[index]:
            row = rows.slice(index, 1).to_pylist()[0]
            if hashlib.sha256(example.image).digest() != row["image_sha256"]:
                raise RuntimeError(
                    f"shard {shard.index}, row {index} ({row['key']}): the image is "
                    f"not the one that was labeled{_because(example)}"
                )
            yield row, example.image
    if count != len(copies):
        raise RuntimeError(
            f"shard {shard.index}: expected {len(copies)} images, got {count}"
        )


def _because(example: Example) -> str:
    return f" ({example.status}: {example.error})" if example.error else ""


def _make_record(row: dict[str, Any], image: bytes, shard: Shard, copy: int) -> Record:
    return Record(
        image=image,
        label=row["label"],
        confidence=row["confidence"],
        top_labels=row["top_labels"],
        top_probabilities=row["top_probabilities"],
        key=row["key"],
        source=f"shard-{shard.index:05d}",
        copy=copy,
    )


def _write_shard(
    shard: tuple[int, Iterable[Placed]], num_shards: int, output: str
) -> tuple[int, int, int]:
    """Writes one output shard; returns its index, its records and their bytes."""
    index, placed = shard
    path = epath.Path(output) / record.shard_name(index, num_shards)
    records = [content for place, content in sorted(placed) if place >= 0]
    with artifact.replacing(path) as temporary, temporary.open("wb") as file:
        for content in records:
            tfrecord.write_record(file, content)
    return index, len(records), sum(map(len, records))


def _write_metadata(shards: list[tuple[int, int, int]], job: Job) -> None:
    shards.sort()
    record.write_metadata(
        job.output,
        record.features(job.predictions.class_names, top_k=job.predictions.top_k),
        shard_lengths=[length for _, length, _ in shards],
        num_bytes=sum(size for _, _, size in shards),
    )
