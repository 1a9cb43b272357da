"""Plain Beam: ReadAllFromTFRecord, RunInference, WriteToTFRecord."""

from __future__ import annotations

import json
import pathlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
from apache_beam.io import ReadAllFromTFRecord, WriteToTFRecord
from apache_beam.ml.inference.base import ModelHandler, RunInference
from apache_beam.options.pipeline_options import PipelineOptions
from numpy.typing import NDArray

from benchmarks.labeling.model import Model, open_model
from benchmarks.labeling.task import BATCH_SIZE, LabelingTask, RunLog
from classifier.data.readers import IMAGE_FEATURE


class BytesHandler(ModelHandler[bytes, NDArray[np.float32], Model]):
    """Model handler from encoded images to logits; logs loads and batches."""

    def __init__(self, task: LabelingTask, run_log: RunLog) -> None:
        super().__init__(min_batch_size=BATCH_SIZE, max_batch_size=BATCH_SIZE)
        self._task = task
        self._run_log = run_log

    def load_model(self) -> Model:
        """Returns the model, in the process that runs it."""
        self._run_log.add_load()
        return open_model(self._task)

    def run_inference(
        self,
        batch: Sequence[bytes],
        model: Model,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterator[NDArray[np.float32]]:
        """Yields logits [K] of each image."""
        started = time.time()
        logits = model(list(batch))
        self._run_log.add_batch(started, len(batch))
        yield from logits

    def get_num_bytes(self, batch: Sequence[bytes]) -> int:
        """Returns the size of a batch; the inherited method pickles it to know."""
        return sum(map(len, batch))


def read_handler(path: str) -> BytesHandler:
    """Returns a handler for `--model_handler` of the labeling job.

    The file holds the log's directory and the fields of a task as JSON.
    """
    directory, task = json.loads(pathlib.Path(path).read_text())
    return BytesHandler(LabelingTask(**task), RunLog(directory))


def run(task: LabelingTask, run_log: RunLog) -> None:
    """Labels the images: a record of top class and logit for each."""
    options = PipelineOptions(
        [],
        runner="FnApiRunner",
        direct_num_workers=task.processes,
        direct_running_mode="multi_processing",
    )
    with (
        tempfile.TemporaryDirectory() as output,
        beam.Pipeline(options=options) as pipeline,
    ):
        _ = (
            pipeline
            | beam.Create(task.record_files())
            | ReadAllFromTFRecord()
            | "Image" >> beam.Map(parse_image)
            | RunInference(BytesHandler(task, run_log))
            | "Row" >> beam.Map(format_row)
            | WriteToTFRecord(f"{output}/predictions")
        )


def parse_image(record: bytes) -> bytes:
    """Returns the encoded image of a serialized `tf.train.Example`."""
    features = tf.train.Example.FromString(record).features.feature
    return features[IMAGE_FEATURE].bytes_list.value[0]


def format_row(logits: NDArray[np.float32]) -> bytes:
    """Returns the top class and its logit."""
    label = int(logits.argmax())
    return f"{label},{logits[label]}".encode()
