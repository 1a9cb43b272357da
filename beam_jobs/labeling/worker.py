"""Labels one shard of images: the work of a bundle.

A shard is read, decoded, predicted and written by one worker; no image crosses a
shuffle. Its file is renamed into place at the end, so a file that exists is done.
"""

from __future__ import annotations

from stage import import_tensorflow  # noqa: F401, for a worker begins here.

# isort: split
import collections
import dataclasses
import gc
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import apache_beam as beam
import pyarrow as pa
import tensorflow as tf
from apache_beam.metrics import Metrics
from apache_beam.utils import shared
from etils import epath

from beam_jobs.io import filesystems
from beam_jobs.labeling.prefetch import ahead
from classifier.data import python_reader, shard_manifest
from classifier.data.examples import Example, Reader, key_text
from classifier.data.sources import Shard
from classifier.inference.engine import REFERENCE, Engine
from classifier.inference.ensemble import (
    BATCH_SIZE,
    MAX_PIXELS,
    OK,
    Decoded,
    Ensemble,
    Predictions,
)
from pseudo_label.predictions import schema as prediction_schema
from stage import artifact

#: Images of a worker before it may say that the source as a whole is broken.
MIN_IMAGES_TO_JUDGE = 10_000
#: Where the job's Beam metrics are.
NAMESPACE = "labeling"


class LabelingError(RuntimeError):
    """Why a shard cannot be labeled, in words for the user."""


class Predictor(Protocol):
    """What turns encoded images into predictions, in two steps that may overlap."""

    def decode(self, encoded: Sequence[bytes]) -> Decoded:
        """Returns a row for every image, decodable or not; at most `BATCH_SIZE`."""

    def predict(self, decoded: Decoded) -> Predictions:
        """Returns a row for every image."""


class PredictorLoader(Protocol):
    """Travels to the workers and loads a predictor there, once in a process."""

    def load(self) -> Predictor:
        """Returns the predictor."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Teachers:
    """Loads the mean of some classifiers.

    Attributes:
        directories: Of the classifiers, perhaps in a bucket.
        engine: What runs their networks.
        threads: That a worker process computes with, 0 for all cores.
        max_pixels: Of an image that is decoded.
        temperature: That all their logits are divided by.
    """

    directories: tuple[str, ...]
    engine: Engine = REFERENCE
    threads: int = 0
    max_pixels: int = MAX_PIXELS
    temperature: float = 1.0

    def load(self) -> Ensemble:
        """Returns the ensemble, at full speed from its first image on."""
        if self.threads:
            _limit_threads(self.threads)
        with tempfile.TemporaryDirectory() as scratch:
            local = [
                fetch_teacher(directory, f"{scratch}/{index}")
                for index, directory in enumerate(self.directories)
            ]
            ensemble = Ensemble(
                local,
                self.engine,
                self.threads or None,
                self.max_pixels,
                self.temperature,
            )
        ensemble.warm_up()
        return ensemble


def fetch_teacher(directory: str, scratch: str) -> epath.Path:
    """Returns where a teacher can be loaded from: `scratch`, if it is in a bucket."""
    training = ("checkpoints", "events", "profile")  # Of no use to labeling.
    return filesystems.fetch(directory, scratch, leave_out=training)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Labeling:
    """What every worker of a labeling job has to know.

    Attributes:
        reader: Reads the images.
        num_shards: Of the source.
        predictor: Loads what labels them.
        top_k: Classes to keep of every image.
        output: Directory of the predictions; its manifest holds the shards.
        fingerprint: Of what decides a row, kept in every file.
        max_bad_fraction: Of the images, in [0, 1]; with more, the job fails.
    """

    reader: Reader
    num_shards: int
    predictor: PredictorLoader
    top_k: int
    output: str
    fingerprint: str
    max_bad_fraction: float = 1.0

    def path(self, index: int) -> epath.Path:
        """Returns where a shard's predictions belong."""
        return epath.Path(self.output) / prediction_schema.shard_name(index)


class LabelShards(beam.DoFn):
    """Labels the shards that are not labeled yet."""

    def __init__(self, labeling: Labeling) -> None:
        self._labeling = labeling
        self._shared = shared.Shared()

    def setup(self) -> None:
        """Loads the predictor once for all threads of a process."""
        filesystems.register()
        self._worker: _Worker = self._shared.acquire(lambda: _Worker(self._labeling))

    def process(self, index: int) -> Iterator[int]:
        """Labels one shard; yields its index."""
        if not self._labeling.path(index).exists():
            self._worker.label(index)
        yield index


class _Worker:
    """What the threads of a process share."""

    def __init__(self, labeling: Labeling) -> None:
        self._labeling = labeling
        self._predictor = labeling.predictor.load()
        # Or Python looks for garbage in the predictor when the worker ends: of each
        # worker, one after the other.
        gc.freeze()
        self._counts: collections.Counter[str] = collections.Counter()

    def label(self, index: int) -> None:
        """Labels one shard, and tells Beam's metrics."""
        started = time.time()
        shard = shard_manifest.read_shard(self._labeling.output, index)
        try:
            counts = label_shard(shard, self._labeling, self._predictor, self._check)
        except OSError as error:
            files = shard.files[0].name + (", ..." if len(shard.files) > 1 else "")
            raise LabelingError(f"shard {index} ({files}): {error}") from error
        for status, count in counts.items():
            Metrics.counter(NAMESPACE, status).inc(count)
        for name, at in (("started_ms", started), ("ended_ms", time.time())):
            Metrics.distribution(NAMESPACE, name).update(int(at * 1000))

    def _check(self, status: Sequence[str]) -> None:
        self._counts.update(status)
        images = self._counts.total()
        if images >= MIN_IMAGES_TO_JUDGE:
            check_bad_fraction(self._counts, self._labeling.max_bad_fraction)


def check_bad_fraction(
    counts: collections.Counter[str], max_bad_fraction: float
) -> None:
    """Judges a source by how many images have which status.

    Raises:
        LabelingError: If too many of them are bad.
    """
    images = counts.total()
    bad = images - counts[OK]
    if bad > max_bad_fraction * images:
        reasons = ", ".join(f"{n:,} {name}" for name, n in sorted(counts.items()))
        raise LabelingError(
            f"{bad / images:.1%} of {images:,} images are bad ({reasons}), expected at "
            f"most {max_bad_fraction:.1%}: mend the source and choose another output, "
            "or raise --max_bad_fraction"
        )


def label_shard(
    shard: Shard,
    labeling: Labeling,
    predictor: Predictor,
    check: Any = lambda status: None,
) -> dict[str, int]:
    """Writes the predictions of one shard, whole or not at all.

    Args:
        shard: Its files.
        labeling: The job.
        predictor: What labels the images.
        check: Sees the status of the images as they are labeled, and may raise.

    Returns:
        How many rows have which status.
    """
    path = labeling.path(shard.index)
    try:
        with (
            artifact.replacing(path) as temporary,
            temporary.open("wb") as file,
        ):
            return prediction_schema.write_shard(
                file,
                _tables(shard, labeling, predictor, check),
                fingerprint=labeling.fingerprint,
            )
    except FileNotFoundError:
        if path.exists():  # Another job of the same config was there first.
            return {}
        raise


def _tables(
    shard: Shard, labeling: Labeling, predictor: Predictor, check: Any
) -> Iterator[pa.Table]:
    first_index = 0
    batches = python_reader.read_batches(labeling.reader, shard.files, BATCH_SIZE)
    decoded_batches = (
        (batch, predictor.decode([example.image for example in batch]))
        for batch in batches
    )
    for batch, decoded in ahead(decoded_batches):
        predicted = predictor.predict(decoded)
        status, errors = _reasons(batch, predicted)
        check(status)
        block = prediction_schema.Block(
            first_index=first_index,
            keys=[key_text(example.key) for example in batch],
            images=decoded.encoded,
            status=status,
            errors=errors,
            probabilities=predicted.probabilities,
            pixels=predicted.pixels,
        )
        yield prediction_schema.to_table(block, top_k=labeling.top_k)
        first_index += len(batch)


def _reasons(
    batch: Sequence[Example], predicted: Predictions
) -> tuple[list[str], list[str]]:
    """Returns status and error of each; what went wrong first counts."""
    rows = [
        (one.status, one.error) if one.status != OK else (status, error)
        for one, status, error in zip(
            batch, predicted.status, predicted.error, strict=True
        )
    ]
    return [status for status, _ in rows], [error for _, error in rows]


def _limit_threads(threads: int) -> None:
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:
        pass  # TensorFlow is at work already: the process that planned the job.
