"""TensorBoard's event files, a copy of `metrics.jsonl`."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf
from etils import epath

from classifier.training.tracker import Status


class TensorBoardTracker:
    """Events that are written anew at each start, so that each row is in them once.

    A run that was killed has left events of steps that are done again, and may lack the
    last ones before.
    """

    def __init__(self, directory: epath.PathLike) -> None:
        path = epath.Path(directory)
        if path.exists():
            path.rmtree()
        self._writer = tf.summary.create_file_writer(str(path))

    def log_metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Writes a row."""
        with self._writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(name, value)

    def finish(self, status: Status) -> None:
        """Closes the file; TensorBoard knows no status."""
        del status
        self._writer.close()
