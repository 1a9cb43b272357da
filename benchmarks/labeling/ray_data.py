"""Ray Data: read_tfrecords, map_batches on a pool of actors, write_parquet."""

from __future__ import annotations

import tempfile
import time
from typing import Any

from numpy.typing import NDArray

from benchmarks.labeling.task import BATCH_SIZE, LabelingTask, RunLog
from classifier.data.readers import IMAGE_FEATURE


class LabelingActor:
    """A process that holds the model."""

    def __init__(self, task: LabelingTask, run_log: RunLog) -> None:
        from benchmarks.labeling.model import open_model

        run_log.add_load()
        self._model = open_model(task)
        self._run_log = run_log

    def __call__(self, batch: dict[str, Any]) -> dict[str, NDArray[Any]]:
        """Returns the top class and its logit of each image."""
        started = time.time()
        logits = self._model(list(batch[IMAGE_FEATURE]))
        self._run_log.add_batch(started, len(logits))
        return {"label": logits.argmax(axis=1), "logit": logits.max(axis=1)}


def run(task: LabelingTask, run_log: RunLog) -> None:
    """Labels the images."""
    import ray

    # Each actor occupies one of Ray's cores: as many again are needed for reading,
    # which takes little.
    ray.init(num_cpus=2 * task.processes, include_dashboard=False, log_to_driver=False)
    files = task.record_files()
    with tempfile.TemporaryDirectory() as output:
        # Four blocks per file are of about four full batches each. With smaller ones
        # most batches would not be full; with larger ones the first actor that is
        # ready would take all of them.
        images = ray.data.read_tfrecords(files, override_num_blocks=4 * len(files))
        images.map_batches(
            LabelingActor,
            fn_constructor_args=(task, run_log),
            batch_size=BATCH_SIZE,
            compute=ray.data.ActorPoolStrategy(size=task.processes),
            num_cpus=1,
        ).write_parquet(output)
    ray.shutdown()
