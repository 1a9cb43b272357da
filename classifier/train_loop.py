"""The training loop: steps, figures, checkpoints, evaluation.

Order on resume: config (must be the same), newest checkpoint, rows of
`metrics.jsonl` up to its step, data stream from that step on.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from etils import epath

from classifier import artifact
from classifier.checkpoint import Arrays, Checkpoints
from classifier.config import TrainConfig

METRICS = "metrics.jsonl"


class Backend(Protocol):
    """What the loop needs of a backend; see `backend_tensorflow`."""

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Moves the state on by one batch and returns scalars."""

    def predict(self, images: Any) -> Any:
        """Returns logits [B,K] of the averaged network."""

    def arrays(self) -> Arrays:
        """Returns the whole state."""

    def load_arrays(self, arrays: Arrays) -> None:
        """Takes over a whole state."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How well the averaged network does on labeled images.

    Attributes:
        num_examples: Images evaluated.
        num_correct: Of them, those whose highest logit is their label's.
        cross_entropy: Mean over the images, in nats.
    """

    num_examples: int
    num_correct: int
    cross_entropy: float

    @property
    def top1(self) -> float:
        """Share of correct images in [0, 1]."""
        return self.num_correct / self.num_examples


def fit(
    backend: Backend,
    config: TrainConfig,
    *,
    make_batches: Callable[[int], Iterable[dict[str, Any]]],
    make_evaluation_batches: Callable[[], Iterable[dict[str, Any]]],
    workdir: epath.PathLike,
    say: Callable[[str], None],
) -> Evaluation:
    """Trains to `config.num_steps`, from the newest checkpoint if there is one.

    Args:
        backend: Network and optimizer, with fresh state.
        config: Durations and intervals.
        make_batches: From the number of steps done to the batches that follow.
        make_evaluation_batches: One pass over the evaluation images, as
            `classifier.data.evaluation_batches` yields them.
        workdir: Takes `checkpoints/`, `metrics.jsonl` and TensorBoard's events.
        say: Takes lines of progress.

    Returns:
        The evaluation of the final averaged network.

    Raises:
        FloatingPointError: If the loss is no longer finite.
    """
    path = epath.Path(workdir)
    checkpoints = Checkpoints(path / "checkpoints", keep=config.checkpoints_to_keep)
    start = 0
    if (latest := checkpoints.load_latest()) is not None:
        start, arrays = latest
        backend.load_arrays(arrays)
        say(f"resuming at step {start}")
    with _Figures(path, start, config.num_steps) as figures:
        steps = range(start, config.num_steps)
        progress = _Progress(config, start, say)
        for step, batch in zip(steps, _iterate(make_batches, steps), strict=False):
            metrics = backend.train_step(batch)
            done = step + 1
            if _is_due(done, config.log_every, config):
                row = {name: float(value) for name, value in metrics.items()}
                _check_finite(row, done, config, checkpoints)
                figures.write(done, row)
                progress.show(done, row)
            if done < config.num_steps and done % config.evaluate_every == 0:
                _record(
                    evaluate(backend, make_evaluation_batches()), done, figures, say
                )
            if _is_due(done, config.checkpoint_every, config):
                checkpoints.save(done, backend.arrays())
        evaluation = evaluate(backend, make_evaluation_batches())
        _record(evaluation, config.num_steps, figures, say)
    return evaluation


def evaluate(backend: Backend, batches: Iterable[dict[str, Any]]) -> Evaluation:
    """Returns the figures of the averaged network over batches with weights."""
    count, correct, nats = 0, 0, 0.0
    for batch in batches:
        logits = np.asarray(backend.predict(batch["image"]), np.float64)
        label = np.asarray(batch["label"])
        weight = np.asarray(batch["weight"])
        count += int(weight.sum())
        correct += int(((logits.argmax(-1) == label) * weight).sum())
        peak = logits.max(-1, keepdims=True)
        log_sum = peak[:, 0] + np.log(np.exp(logits - peak).sum(-1))
        of_label = np.take_along_axis(logits, label[:, None], axis=-1)[:, 0]
        nats += float(((log_sum - of_label) * weight).sum())
    return Evaluation(
        num_examples=count, num_correct=correct, cross_entropy=nats / max(count, 1)
    )


def _iterate(
    make_batches: Callable[[int], Iterable[dict[str, Any]]], steps: range
) -> Iterator[dict[str, Any]]:
    if steps:  # A finished run need not open its data.
        yield from make_batches(steps.start)


def _is_due(done: int, every: int, config: TrainConfig) -> bool:
    return done % every == 0 or done == config.num_steps


def _record(
    evaluation: Evaluation,
    step: int,
    figures: _Figures,
    say: Callable[[str], None],
) -> None:
    row = {
        "evaluation/top1": evaluation.top1,
        "evaluation/cross_entropy": evaluation.cross_entropy,
    }
    figures.write(step, row)
    say(
        f"step {step}: {evaluation.num_correct} of {evaluation.num_examples} "
        f"evaluation images right, {evaluation.top1:.2%}"
    )


def _check_finite(
    row: dict[str, float], step: int, config: TrainConfig, checkpoints: Checkpoints
) -> None:
    if math.isfinite(row["train/loss"]):
        return
    saved = checkpoints.steps()
    raise FloatingPointError(
        f"the loss is {row['train/loss']} at step {step}; it was finite at step "
        f"{max(0, step - config.log_every)}. Last checkpoint: "
        f"{saved[-1] if saved else 'none'}. A lower "
        "--set=optimizer.peak_learning_rate or a longer warm-up is the usual cure"
    )


class _Figures:
    """Writes `metrics.jsonl` and TensorBoard's events side by side."""

    def __init__(self, workdir: epath.Path, start: int, num_steps: int) -> None:
        self._path = workdir / METRICS
        self._start = start
        self._num_steps = num_steps
        self._rows = []
        if self._path.exists():
            lines = self._path.read_text().splitlines()
            rows = [line for line in lines if line.endswith("}")]
            self._rows = [row for row in rows if self._is_kept(json.loads(row))]
        self._events = tf.summary.create_file_writer(str(workdir / "events"))

    def _is_kept(self, row: dict[str, Any]) -> bool:
        """Whether a row is of a step that is not done again."""
        if row["step"] == self._num_steps and "evaluation/top1" in row:
            return False  # The final evaluation comes after the last checkpoint.
        return bool(row["step"] <= self._start)

    def __enter__(self) -> _Figures:
        artifact.write_bytes(
            self._path, "".join(row + "\n" for row in self._rows).encode()
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._events.close()

    def write(self, step: int, row: dict[str, float]) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps({"step": step, **row}) + "\n")
        with self._events.as_default(step=step):
            for name, value in row.items():
                tf.summary.scalar(name, value)


class _Progress:
    """Turns step numbers into a line with speed and time left."""

    def __init__(
        self, config: TrainConfig, start: int, say: Callable[[str], None]
    ) -> None:
        self._config = config
        self._last_step = start
        self._last_time = time.monotonic()
        self._say = say

    def show(self, step: int, row: dict[str, float]) -> None:
        now = time.monotonic()
        rate = (step - self._last_step) / (now - self._last_time)
        self._last_step, self._last_time = step, now
        left = (self._config.num_steps - step) / rate
        images = rate * self._config.global_batch_size
        self._say(
            f"step {step}/{self._config.num_steps}  loss {row['train/loss']:.3f}  "
            f"{images:,.0f} images/s  ETA {int(left // 60)}:{int(left % 60):02d}"
        )
