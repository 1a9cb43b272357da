"""The bare loop: decoding in tf.data, overlapped with the network, and nothing else.

No Beam, keys, hashes or output files: the limit that hardware and engine set.
"""

from __future__ import annotations

import time
from typing import Any

from benchmarks.labeling.processes import run_in_parallel
from benchmarks.labeling.task import BATCH_SIZE, LabelingTask, RunLog
from classifier.data.config import ImageConfig


def run(task: LabelingTask, run_log: RunLog) -> None:
    """Labels the images, divided among the processes by file."""
    run_in_parallel(_label, task, run_log)


def pixel_batches(files: list[str], image: ImageConfig, *, parallel: int) -> Any:
    """Returns a dataset of uint8 [B,S,S,3], preprocessed as in the export.

    `parallel` images are decoded at once.
    """
    import tensorflow as tf

    from classifier.data import preprocessing
    from classifier.data.readers import IMAGE_FEATURE

    features = {IMAGE_FEATURE: tf.io.FixedLenFeature([], tf.string)}

    def decode(record: Any) -> Any:
        encoded = tf.io.parse_single_example(record, features)[IMAGE_FEATURE]
        return preprocessing.evaluation_image(encoded, image)

    options = tf.data.Options()
    options.autotune.enabled = False
    return (
        tf.data.TFRecordDataset(files)
        .map(decode, num_parallel_calls=parallel)
        .batch(BATCH_SIZE)
        .prefetch(2)
        .with_options(options)
    )


def _label(index: int, barrier: Any, task: LabelingTask, run_log: RunLog) -> None:
    from benchmarks.labeling.model import limit_threads, open_classifier

    limit_threads(task)
    classifier = open_classifier(task)
    files = task.record_files()[index :: task.processes]
    dataset = pixel_batches(files, classifier.image, parallel=task.threads)
    for pixels in dataset.take(1).as_numpy_iterator():
        classifier.logits(pixels)  # Compiles.
    barrier.wait()
    started = time.time()
    for pixels in dataset.as_numpy_iterator():
        run_log.add_batch(started, len(classifier.logits(pixels)))
