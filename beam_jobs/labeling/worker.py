"""Labels one shard of images, the unit of work.

One worker reads, decodes, predicts and writes a shard; no image crosses a shuffle.
The file is renamed into place at the end: a shard whose file exists is done.
"""

from __future__ import annotations

from stage import import_tensorflow  # noqa: F401, first import of a worker

# isort: split
import collections
import dataclasses
import gc
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow as tf
from apache_beam.metrics import Metrics
from apache_beam.utils import shared
from etils import epath
from numpy.typing import NDArray

from beam_jobs.io import filesystems
from beam_jobs.labeling.prefetch import prefetch
from classifier.data import orientation, python_reader, shard_manifest
from classifier.data.examples import UNLABELED, Example, Reader, key_text
from classifier.data.image_header import MAX_PIXELS
from classifier.data.sources import Shard
from classifier.inference.engine import REFERENCE, Engine, has_gpu
from classifier.inference.ensemble import BATCH_SIZE, Decoded, Ensemble, Predictions
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.schema import TRUE_LABEL
from stage import artifact
from stage.parts import WHOLE, Part
from stage.status import OK

#: Minimum number of images before a worker compares the bad fraction to its limit.
MIN_IMAGES_TO_JUDGE = 10_000
#: Namespace of the job's Beam metrics.
NAMESPACE = "labeling"
#: Receives the status of each image of a batch; raises LabelingError to stop the job.
StatusCheck = Callable[[Sequence[str]], None]


class LabelingError(RuntimeError):
    """A shard cannot be labeled; the message is for the user."""


class Predictor(Protocol):
    """Turns encoded images into predictions, in two steps that may overlap."""

    def decode(self, examples: Sequence[Example]) -> Decoded:
        """Returns a row for each of at most `BATCH_SIZE` images, decodable or not."""

    def predict(self, decoded: Decoded) -> Predictions:
        """Returns a row for each image."""


class PredictorLoader(Protocol):
    """Is sent to the workers and loads a predictor, once in a process."""

    def load(self) -> Predictor:
        """Returns the predictor."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Teachers:
    """Loads classifiers, whose mean probabilities label the images.

    Attributes:
        directories: Directories of the classifiers, local or in a bucket.
        engine: Engine of their networks.
        threads: Threads a worker process computes with, 0 for all cores.
        max_pixels: Maximum pixels of an image to decode.
        temperature: Divisor of all logits.
        embeddings: Whether predictions have embeddings.
        accelerator: Accelerator that the workers were given; None without.
    """

    directories: Sequence[str]
    engine: Engine = REFERENCE
    threads: int = 0
    max_pixels: int = MAX_PIXELS
    temperature: float = 1.0
    embeddings: bool = False
    accelerator: str | None = None

    def load(self) -> Ensemble:
        """Returns the ensemble, warmed up.

        Raises LabelingError if TensorFlow does not see the accelerator: it would label
        on the processor, at a fraction of the speed and the full price.
        """
        if self.accelerator and not has_gpu():
            raise LabelingError(
                f"expected a worker with {self.accelerator}, but TensorFlow finds no "
                "GPU: its driver or CUDA is missing, see the log of the worker's start "
                "and docs/dataflow.md, or label without an accelerator"
            )
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
                embeddings=self.embeddings,
            )
        ensemble.warm_up()
        return ensemble


def fetch_teacher(directory: str, scratch: str) -> epath.Path:
    """Returns a local directory of a teacher: a copy in `scratch` if it is remote."""
    return filesystems.fetch(directory, scratch, leave_out=artifact.SCRATCH)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Labeling:
    """The part of a labeling job that workers need.

    Attributes:
        reader: Reader of the images.
        num_shards: Shards of the source.
        predictor: Loader of the teachers or the model.
        top_k: Classes to keep of each image.
        output: Directory of the predictions; its manifest lists the shards.
        fingerprint: Hash of everything that decides a row, stored in each file.
        max_bad_fraction: Maximum fraction of bad images, in [0, 1].
        more_columns: Further columns, see `pseudo_label.predictions.schema`.
        part: Part of the shards that this process labels.
    """

    reader: Reader
    num_shards: int
    predictor: PredictorLoader
    top_k: int
    output: str
    fingerprint: str
    max_bad_fraction: float = 1.0
    more_columns: Sequence[str] = ()
    part: Part = WHOLE

    @property
    def own_shards(self) -> range:
        """Numbers of the shards of the part."""
        return self.part.take(self.num_shards)

    def path(self, index: int) -> epath.Path:
        """Returns the path of a shard's predictions."""
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
    """The state that the threads of a process share."""

    def __init__(self, labeling: Labeling) -> None:
        self._labeling = labeling
        self._predictor = labeling.predictor.load()
        # Otherwise the garbage collector scans the predictor when a worker ends, and
        # workers end one after the other.
        gc.freeze()
        self._counts: collections.Counter[str] = collections.Counter()

    def label(self, index: int) -> None:
        """Labels one shard and updates Beam's metrics."""
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
    """Raises LabelingError if too many images have another status than ok."""
    images = counts.total()
    bad = images - counts[OK]
    if bad > max_bad_fraction * images:
        reasons = ", ".join(f"{n:,} {name}" for name, n in sorted(counts.items()))
        raise LabelingError(
            f"{bad / images:.1%} of {images:,} images are bad ({reasons}), expected at "
            f"most {max_bad_fraction:.1%}: repair the source and choose another "
            "output, or raise --max_bad_fraction"
        )


def label_shard(
    shard: Shard,
    labeling: Labeling,
    predictor: Predictor,
    check: StatusCheck = lambda status: None,
) -> dict[str, int]:
    """Writes the predictions of one shard atomically.

    Returns the number of rows of each status; none if another job has written it.
    """
    path = labeling.path(shard.index)
    turned: collections.Counter[bool] = collections.Counter()
    try:
        with artifact.replacing(path) as temporary, temporary.open("wb") as file:
            return prediction_schema.write_shard(
                file,
                _tables(shard, labeling, predictor, check, turned),
                fingerprint=labeling.fingerprint,
                shard=fingerprint(shard),
                more=labeling.more_columns,
                count_turned=lambda: turned[True],
            )
    except FileNotFoundError:
        if path.exists():  # Another job of the same config has written it meanwhile.
            return {}
        raise


def fingerprint(shard: Shard) -> str:
    """Returns the fingerprint of the names and sizes of a shard's files."""
    return artifact.fingerprint(
        os.fsencode(f"{shard.index} {file.name} {file.size} {file.skip} {file.take}")
        for file in shard.files
    )


def _tables(
    shard: Shard,
    labeling: Labeling,
    predictor: Predictor,
    check: StatusCheck,
    turned: collections.Counter[bool],
) -> Iterator[pa.Table]:
    """Yields the rows of a shard; counts the images by whether they are stored turned.

    Images without a prediction are not counted.
    """
    first_index = 0
    batches = python_reader.read_batches(labeling.reader, shard.files, BATCH_SIZE)
    for decoded in prefetch(map(predictor.decode, batches)):
        predicted = predictor.predict(decoded)
        check(predicted.status)
        turned.update(
            orientation.is_turned(example.image)
            for example, status in zip(decoded.examples, predicted.status, strict=True)
            if status == OK
        )
        block = prediction_schema.Block(
            first_index=first_index,
            keys=[key_text(example.key) for example in decoded.examples],
            images=[example.image for example in decoded.examples],
            status=predicted.status,
            errors=predicted.error,
            probabilities=predicted.probabilities,
            pixels=decoded.pixels,
            embeddings=predicted.embeddings,
            embedding_norms=predicted.embedding_norms,
            true_labels=(
                _true_labels(decoded.examples, predicted.probabilities.shape[1])
                if TRUE_LABEL in labeling.more_columns
                else None
            ),
        )
        yield prediction_schema.to_table(block, top_k=labeling.top_k)
        first_index += len(decoded.examples)


def _true_labels(examples: Sequence[Example], num_classes: int) -> NDArray[np.int32]:
    """Returns the labels [B] of the source; LabelingError for one that is no class."""
    for example in examples:
        if not UNLABELED <= example.label < num_classes:
            raise LabelingError(
                f"{key_text(example.key)}: expected a label in 0..{num_classes - 1}, "
                f"or -1 for none, got {example.label}"
            )
    return np.array([example.label for example in examples], np.int32)


def _limit_threads(threads: int) -> None:
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:
        pass  # TensorFlow has started already: in the process that planned the job.
