"""Labels one shard of images: the work of a bundle.

A shard is read, decoded, predicted and written by one worker; no image crosses a
shuffle. Its file is renamed into place at the end, so a file that exists is done.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.utils import shared
from etils import epath

from classifier import artifact
from classifier.predict import BATCH_SIZE, Ensemble
from classifier.sources import Reader, Shard, read_batches
from pseudo_label import prediction


@dataclasses.dataclass(frozen=True, kw_only=True)
class Labeling:
    """What every worker of a labeling job has to know.

    Attributes:
        reader: Reads the images.
        num_shards: Of the source.
        teachers: Directories of the classifiers.
        top_k: Classes to keep of every image.
        output: Directory of the predictions.
        fingerprint: Of the job's config, kept in every file.
    """

    reader: Reader
    num_shards: int
    teachers: tuple[str, ...]
    top_k: int
    output: str
    fingerprint: str

    def path(self, shard: Shard) -> epath.Path:
        """Returns where a shard's predictions belong."""
        name = prediction.shard_name(shard.index, self.num_shards)
        return epath.Path(self.output) / name


class LabelShards(beam.DoFn):
    """Labels the shards that are not labeled yet."""

    def __init__(self, labeling: Labeling) -> None:
        self._labeling = labeling
        self._shared = shared.Shared()

    def setup(self) -> None:
        """Loads the teachers once for all threads of a process."""
        teachers = self._labeling.teachers
        self._ensemble: Ensemble = self._shared.acquire(lambda: Ensemble(teachers))

    def process(self, shard: Shard) -> Iterator[int]:
        """Labels one shard; yields its index."""
        if not self._labeling.path(shard).exists():
            label_shard(shard, self._labeling, self._ensemble)
        yield shard.index


def label_shard(shard: Shard, labeling: Labeling, ensemble: Ensemble) -> None:
    """Writes the predictions of one shard, whole or not at all."""
    with (
        artifact.replacing(labeling.path(shard)) as temporary,
        temporary.open("wb") as file,
    ):
        prediction.write_shard(
            file,
            _tables(shard, labeling, ensemble),
            fingerprint=labeling.fingerprint,
        )


def _tables(shard: Shard, labeling: Labeling, ensemble: Ensemble) -> Iterator[pa.Table]:
    first_index = 0
    for batch in read_batches(labeling.reader, shard.files, BATCH_SIZE):
        images = batch["image"].tolist()
        predicted = ensemble.predict(images)
        block = prediction.Block(
            first_index=first_index,
            keys=_to_text(batch["key"]),
            images=images,
            status=predicted.status,
            errors=predicted.error,
            probabilities=predicted.probabilities,
            pixels=predicted.pixels,
        )
        yield prediction.to_table(block, top_k=labeling.top_k)
        first_index += len(images)


def _to_text(keys: Sequence[Any]) -> list[str]:
    # Names of files need not be UTF-8; the key stays unique and printable.
    return [key.decode(errors="backslashreplace") for key in keys]
