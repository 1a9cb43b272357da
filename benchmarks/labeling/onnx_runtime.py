"""ONNX Runtime's bare loop: decoding in tf.data, overlapped with its session alone.

The session has ONNX Runtime's own settings, and the batch size that was fastest of 1 to
64 with EfficientNet-Lite0.
"""

from __future__ import annotations

import time
from typing import Any

from benchmarks.labeling.bare import pixel_batches
from benchmarks.labeling.processes import run_in_parallel
from benchmarks.labeling.task import LabelingTask, RunLog

BATCH_SIZE = 8


def run(task: LabelingTask, run_log: RunLog) -> None:
    """Labels the images, divided among the processes by file."""
    run_in_parallel(_label, task, run_log)


def _label(index: int, barrier: Any, task: LabelingTask, run_log: RunLog) -> None:
    import onnxruntime

    from benchmarks.labeling.model import limit_threads
    from classifier.export.facts import read_facts
    from classifier.export.onnx_file import NETWORK

    limit_threads(task)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = task.threads
    session = onnxruntime.InferenceSession(f"{task.classifier}/{NETWORK}", options)
    image = read_facts(task.classifier).image
    files = task.record_files()[index :: task.processes]
    dataset = pixel_batches(files, image, parallel=task.threads)
    for pixels in dataset.take(1).as_numpy_iterator():
        session.run(["logits"], {"pixels": pixels[:BATCH_SIZE]})  # Allocates.
    barrier.wait()
    started = time.time()
    for pixels in dataset.as_numpy_iterator():
        for first in range(0, len(pixels), BATCH_SIZE):
            batch = pixels[first : first + BATCH_SIZE]
            (logits,) = session.run(["logits"], {"pixels": batch})
            run_log.add_batch(started, len(logits))
