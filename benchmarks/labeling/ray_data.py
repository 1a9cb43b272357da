"""Ray Data: read_tfrecords, map_batches on a pool of actors, write_parquet."""

from __future__ import annotations

import tempfile
import time
from typing import Any

from numpy.typing import NDArray

from benchmarks.labeling.task import BATCH_SIZE, Task, Timesheet
from classifier.data.sources import IMAGE_FEATURE

#: Of some four full batches each.
BLOCKS_OF_FILE = 4


class Actor:
    """A process with the model.

    Args:
        task: Says which model.
        sheet: Where to note what was done.
    """

    def __init__(self, task: Task, sheet: Timesheet) -> None:
        from benchmarks.labeling.model import open_model

        sheet.note_load()
        self._model = open_model(task)
        self._sheet = sheet

    def __call__(self, batch: dict[str, Any]) -> dict[str, NDArray[Any]]:
        """Returns top class and its logit of each image."""
        started = time.time()
        logits = self._model(list(batch[IMAGE_FEATURE]))
        self._sheet.note_batch(started, len(logits))
        return {"label": logits.argmax(axis=1), "logit": logits.max(axis=1)}


def run(task: Task, sheet: Timesheet) -> None:
    """Labels the images."""
    import ray

    # Actors hold a core of Ray's count each: with no more than there are, nobody
    # would read. Reading takes little.
    ray.init(num_cpus=2 * task.processes, include_dashboard=False, log_to_driver=False)
    files = task.record_files()
    with tempfile.TemporaryDirectory() as output:
        # Of much smaller blocks, most batches would not be full; of larger ones, an
        # actor that is ready before another would take all there are.
        blocks = BLOCKS_OF_FILE * len(files)
        images = ray.data.read_tfrecords(files, override_num_blocks=blocks)
        images.map_batches(
            Actor,
            fn_constructor_args=(task, sheet),
            batch_size=BATCH_SIZE,
            compute=ray.data.ActorPoolStrategy(size=task.processes),
            num_cpus=1,
        ).write_parquet(output)
    ray.shutdown()
