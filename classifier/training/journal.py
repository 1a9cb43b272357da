"""Output of a run: metrics, TensorBoard events, checkpoints and progress lines."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath

from classifier.export.facts import Evaluation
from classifier.training import checkpoint, metrics
from classifier.training.backend import Backend
from classifier.training.checkpoint import Arrays, Checkpoints
from classifier.training.config import TrainConfig
from classifier.training.devices import RunContext
from classifier.training.metrics import MetricsRow
from classifier.training.tensorboard_tracker import TensorBoardTracker
from stage import artifact

EVENTS = "events"


class Journal:
    """Writes the files of a run; a context manager while steps are done.

    Only the first process writes, but all check the same values, so that all stop at
    the same step.
    """

    def __init__(self, config: TrainConfig, context: RunContext) -> None:
        self._config = config
        self._devices = context.devices
        self._log = context.log
        self._path = epath.Path(context.workdir)
        self._checkpoints = Checkpoints(
            self._path / "checkpoints", keep=config.checkpoints_to_keep
        )
        self._start = 0
        self._last_finite = 0
        self._best_top1 = -math.inf
        self._events: TensorBoardTracker | None = None
        self._trackers = context.trackers

    def resume(self, backend: Backend) -> int:
        """Loads the newest readable checkpoint, if any; returns the steps done.

        The first process chooses it for all.

        Raises:
            FileNotFoundError: If only the first process sees the checkpoint.
            ValueError: If it is of another network, or only the first process can
                read it.
        """
        latest = (
            self._checkpoints.load_latest(self._log) if self._devices.is_first else None
        )
        start = self._devices.broadcast(latest[0] if latest else 0)
        if start > 0:
            backend.load_arrays(latest[1] if latest else self._read(start))
            self._log(f"resuming at step {start}")
        elif self._devices.is_first and metrics.read(self._path):
            self._log("starting over: there is no checkpoint yet")
        self._start = self._last_finite = self._logged_step = start
        self._logged_at = time.monotonic()
        return start

    def _read(self, step: int) -> Arrays:
        path = self._checkpoints.path(step)
        if not path.exists():
            raise FileNotFoundError(
                f"no checkpoint of step {step} in {self._path}: expected a --workdir "
                "that all processes see"
            )
        return checkpoint.read(path)

    def __enter__(self) -> Journal:
        if self._devices.is_first:
            self._path.mkdir(parents=True, exist_ok=True)
            self._checkpoints.clean(self._start)
            rows = self._kept_rows()
            top1s = [row.top1 for row in rows if row.top1 is not None]
            self._best_top1 = max(top1s, default=-math.inf)
            metrics.write(self._path, rows)
            self._events = TensorBoardTracker(self._path / EVENTS)
            for row in rows:
                self._track(row)
        return self

    def __exit__(self, *_: object) -> None:
        if self._events is not None:
            self._events.finish("finished")

    def write_metrics(self, step: int, scalars: dict[str, Any]) -> None:
        """Fetches the scalars of a step from the devices, writes and logs them.

        Raises:
            FloatingPointError: If the loss is not finite.
        """
        row = {name: float(value) for name, value in scalars.items()}
        if not math.isfinite(row["train/loss"]):
            raise self._diverged(f"the loss is {row['train/loss']}", step)
        self._last_finite = step
        self._write(step, row)
        self._log_progress(step, row)

    def write_evaluation(
        self, step: int, evaluation: Evaluation, backend: Backend
    ) -> None:
        """Writes an evaluation, and a checkpoint if its top-1 is the best so far.

        Raises:
            FloatingPointError: If the cross-entropy, or the state to save, is not
                finite.
        """
        if not math.isfinite(evaluation.cross_entropy):
            raise self._diverged("the evaluation's loss is not finite", step)
        self._log(
            f"step {step}: {evaluation.num_correct} of {evaluation.num_examples} "
            f"evaluation images right, {evaluation.top1:.2%}"
        )
        if self._devices.is_first and evaluation.top1 > self._best_top1:
            self._best_top1 = evaluation.top1
            self._checkpoints.save_best(step, self._finite_arrays(step, backend))
        self._write(step, metrics.of_evaluation(evaluation))

    def save(self, step: int, backend: Backend) -> None:
        """Writes a checkpoint.

        Raises:
            FloatingPointError: If the state is not finite.
        """
        arrays = self._finite_arrays(step, backend)
        self._last_finite = step
        if self._devices.is_first:
            # A checkpoint that survives a power cut has its rows.
            artifact.sync(self._path / metrics.METRICS)
            self._checkpoints.save(step, arrays)

    def _finite_arrays(self, step: int, backend: Backend) -> Arrays:
        arrays = backend.arrays()
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise self._diverged(f"{name} is not finite", step)
        return arrays

    def _diverged(self, reason: str, step: int) -> FloatingPointError:
        saved = self._checkpoints.steps()
        last = self._checkpoints.path(saved[-1]) if saved else "none"
        return FloatingPointError(
            f"training has diverged: {reason} at step {step}, all values were finite "
            f"at step {self._last_finite}. Last good checkpoint: {last}. Try a lower "
            "--set=optimizer.peak_learning_rate or a longer warm-up"
        )

    def _write(self, step: int, values: dict[str, float]) -> None:
        if self._devices.is_first:
            row = MetricsRow(step, values)
            metrics.append(self._path, row)
            self._track(row)

    def _track(self, row: MetricsRow) -> None:
        for tracker in (self._events, *self._trackers):
            if tracker is not None:
                tracker.log_metrics(row.step, row.values)

    def _log_progress(self, step: int, row: Mapping[str, float]) -> None:
        """Logs loss, accuracy of the batch, speed since the last line, time left."""
        now = time.monotonic()
        steps_per_second = (step - self._logged_step) / (now - self._logged_at)
        self._logged_step, self._logged_at = step, now
        minutes, seconds = divmod(
            int((self._config.num_steps - step) / steps_per_second), 60
        )
        self._log(
            f"step {step}/{self._config.num_steps}  loss {row['train/loss']:.3f}  "
            f"accuracy {row[metrics.TRAIN_TOP1]:.1%}  "
            f"{steps_per_second * self._config.global_batch_size:,.0f} images/s  "
            f"ETA {minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
        )

    def _kept_rows(self) -> list[MetricsRow]:
        """Returns the rows of `metrics.jsonl` that the resumed run does not repeat."""
        last_step = self._config.num_steps
        return [
            row
            for row in metrics.read(self._path)
            if row.step <= self._start
            # The final evaluation comes after the last checkpoint.
            and not (row.step == last_step and row.top1 is not None)
        ]
