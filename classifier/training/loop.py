"""The training loop: steps, figures, checkpoints, evaluation.

Order on resume: config (must be the same), newest checkpoint, rows of
`metrics.jsonl` up to its step, data stream from that step on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from etils import epath

from classifier.export.facts import Evaluation
from classifier.training.checkpoint import Arrays, Checkpoints
from classifier.training.config import TrainConfig
from classifier.training.devices import Devices
from stage import artifact
from stage.preemption import PreemptedError, watched

METRICS = "metrics.jsonl"
PROFILE = "profile"
#: Steps after the start, in which things are compiled, that no trace is made of.
PROFILE_AFTER = 3
#: Steps of a trace: enough to see one step wait for another.
PROFILE_STEPS = 5


class Backend(Protocol):
    """What the loop needs of `backend_tensorflow` or `backend_jax`.

    A state that one of them has returned can be taken over by the other.
    """

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Moves the state on by this process's share of a batch; returns scalars."""

    def predict(self, images: Any) -> Any:
        """Returns logits [B,K] of the averaged network."""

    def arrays(self) -> Arrays:
        """Returns the whole state."""

    def load_arrays(self, arrays: Arrays) -> None:
        """Takes over a whole state."""

    def start_trace(self, directory: str) -> None:
        """Begins to record what host and devices do."""

    def mark(self, step: int) -> contextlib.AbstractContextManager[Any]:
        """Names a step in the trace."""

    def stop_trace(self) -> None:
        """Writes the trace, when the devices are done."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunContext:
    """Where a run happens; changes nothing in its outcome but the last bits.

    Attributes:
        workdir: Takes `checkpoints/`, `metrics.jsonl`, TensorBoard's events and, with
            `profile`, a trace. All processes must see it.
        log: Takes lines of progress.
        devices: What it computes on.
        profile: Whether to trace a few steps.
    """

    workdir: epath.PathLike
    log: Callable[[str], None]
    devices: Devices
    profile: bool = False


def fit(
    backend: Backend,
    config: TrainConfig,
    *,
    make_batches: Callable[[int], Iterable[dict[str, Any]]],
    make_evaluation_batches: Callable[[], Iterable[dict[str, Any]]],
    context: RunContext,
) -> Evaluation:
    """Trains to `config.num_steps`, from the newest checkpoint if there is one.

    Args:
        backend: Network and optimizer, with fresh state.
        config: Durations and intervals.
        make_batches: From the number of steps done to the batches that follow, of this
            process.
        make_evaluation_batches: One pass over this process's share of the evaluation
            images, as `input_pipeline.evaluation_batches` yields them.
        context: Where it happens.

    Returns:
        The evaluation of the final averaged network.

    Raises:
        FloatingPointError: If the loss or the state is no longer finite.
        PreemptedError: If SIGTERM came; the state is saved.
    """
    devices = context.devices
    journal = _Journal(config, context)
    start = journal.resume(backend)
    steps = range(start, config.num_steps)
    tracer = _Tracer(backend, context, start)
    with journal, watched(is_alone=devices.num_processes == 1) as notice:
        for step, batch in zip(steps, _iterate(make_batches, steps), strict=False):
            with tracer.step(step):
                metrics = backend.train_step(batch)
            done = step + 1
            if _is_due(done, config.log_every, config):
                journal.write_metrics(done, metrics)
            if done < config.num_steps and done % config.evaluate_every == 0:
                found = evaluate(backend, make_evaluation_batches(), devices)
                journal.write_evaluation(done, found, backend)
            stops = devices.is_preempted(done, here=notice.given)
            if stops or _is_due(done, config.checkpoint_every, config):
                journal.save(done, backend)
            if stops and done < config.num_steps:
                raise PreemptedError(f"told to end, saved at step {done}")
        evaluation = evaluate(backend, make_evaluation_batches(), devices)
        journal.write_evaluation(config.num_steps, evaluation, backend)
    return evaluation


def evaluate(
    backend: Backend, batches: Iterable[dict[str, Any]], devices: Devices
) -> Evaluation:
    """Returns the figures of the averaged network over batches with weights.

    Each process gives its own batches, and gets the figures over all.
    """
    sums = np.zeros(3)
    for batch in batches:
        logits = np.asarray(backend.predict(batch["image"]), np.float64)
        label = np.asarray(batch["label"])
        weight = np.asarray(batch["weight"])
        peak = logits.max(-1, keepdims=True)
        log_sum = peak[:, 0] + np.log(np.exp(logits - peak).sum(-1))
        of_label = np.take_along_axis(logits, label[:, None], axis=-1)[:, 0]
        hits = logits.argmax(-1) == label
        sums += [
            weight.sum(),
            (hits * weight).sum(),
            ((log_sum - of_label) * weight).sum(),
        ]
    count, correct, nats = devices.total(sums)
    return Evaluation(
        num_examples=int(count),
        num_correct=int(correct),
        cross_entropy=float(nats / max(count, 1.0)),
    )


def _iterate(
    make_batches: Callable[[int], Iterable[dict[str, Any]]], steps: range
) -> Iterator[dict[str, Any]]:
    if steps:  # A finished run need not open its data.
        yield from make_batches(steps.start)


def _is_due(done: int, every: int, config: TrainConfig) -> bool:
    return done % every == 0 or done == config.num_steps


class _Journal:
    """What a run leaves behind: figures, TensorBoard's events, checkpoints.

    Only the first process writes; all check what they would write alike, so that all
    stop alike.
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
        self._checked = 0
        self._best = -math.inf
        self._events: Any = None

    def resume(self, backend: Backend) -> int:
        """Takes over the newest checkpoint, if there is one; returns its step.

        Raises:
            FileNotFoundError: If it is there for the first process alone.
        """
        saved = self._checkpoints.steps()
        self._start = self._devices.broadcast(saved[-1] if saved else 0)
        self._checked = self._start
        if self._start > 0:
            if self._start not in saved:
                raise FileNotFoundError(
                    f"no checkpoint of step {self._start} in {self._path}: expected a "
                    "--workdir that all processes see"
                )
            backend.load_arrays(self._checkpoints.load(self._start))
            self._log(f"resuming at step {self._start}")
        self._progress = _Progress(self._config, self._start, self._log)
        return self._start

    def __enter__(self) -> _Journal:
        if self._devices.is_first:
            self._path.mkdir(parents=True, exist_ok=True)
            self._checkpoints.clean()
            rows = self._kept_rows()
            tops = [row["evaluation/top1"] for row in rows if "evaluation/top1" in row]
            self._best = max(tops, default=-math.inf)
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            artifact.write_bytes(self._path / METRICS, lines.encode())
            self._events = tf.summary.create_file_writer(str(self._path / "events"))
        return self

    def __exit__(self, *_: object) -> None:
        if self._events is not None:
            self._events.close()

    def write_metrics(self, step: int, metrics: dict[str, Any]) -> None:
        """Fetches the scalars of a step from the devices, and writes them.

        Raises:
            FloatingPointError: If the loss is not finite.
        """
        row = {name: float(value) for name, value in metrics.items()}
        if not math.isfinite(row["train/loss"]):
            raise self._diverged(f"the loss is {row['train/loss']}", step)
        self._checked = step
        self._write(step, row)
        self._progress.show(step, row)

    def write_evaluation(
        self, step: int, evaluation: Evaluation, backend: Backend
    ) -> None:
        """Writes the figures, and a checkpoint if they are the best so far.

        Raises:
            FloatingPointError: If they, or then the state, are not finite.
        """
        if not math.isfinite(evaluation.cross_entropy):
            raise self._diverged("the evaluation's loss is not finite", step)
        self._log(
            f"step {step}: {evaluation.num_correct} of {evaluation.num_examples} "
            f"evaluation images right, {evaluation.top1:.2%}"
        )
        if self._devices.is_first and evaluation.top1 > self._best:
            self._best = evaluation.top1
            self._checkpoints.save_best(step, self._finite_arrays(step, backend))
        row = {
            "evaluation/top1": evaluation.top1,
            "evaluation/cross_entropy": evaluation.cross_entropy,
        }
        self._write(step, row)

    def save(self, step: int, backend: Backend) -> None:
        """Writes a checkpoint.

        Raises:
            FloatingPointError: If the state is not finite.
        """
        arrays = self._finite_arrays(step, backend)
        self._checked = step
        if self._devices.is_first:
            self._checkpoints.save(step, arrays)

    def _finite_arrays(self, step: int, backend: Backend) -> Arrays:
        arrays = backend.arrays()
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise self._diverged(f"{name} is not finite", step)
        return arrays

    def _diverged(self, what: str, step: int) -> FloatingPointError:
        saved = self._checkpoints.steps()
        last = self._checkpoints.path(saved[-1]) if saved else "none"
        return FloatingPointError(
            f"training has diverged: {what} at step {step}, all was finite at step "
            f"{self._checked}. Last good checkpoint: {last}. A lower "
            "--set=optimizer.peak_learning_rate or a longer warm-up is the usual cure"
        )

    def _write(self, step: int, row: dict[str, float]) -> None:
        if not self._devices.is_first:
            return
        with (self._path / METRICS).open("a") as file:
            file.write(json.dumps({"step": step, **row}) + "\n")
        with self._events.as_default(step=step):
            for name, value in row.items():
                tf.summary.scalar(name, value)

    def _kept_rows(self) -> list[dict[str, Any]]:
        """Returns the rows of steps that are not done again."""
        path = self._path / METRICS
        if not path.exists():
            return []
        lines = path.read_text().splitlines()
        rows = [json.loads(line) for line in lines if line.endswith("}")]
        return [row for row in rows if self._is_kept(row)]

    def _is_kept(self, row: dict[str, Any]) -> bool:
        if row["step"] == self._config.num_steps and "evaluation/top1" in row:
            return False  # The final evaluation comes after the last checkpoint.
        return bool(row["step"] <= self._start)


class _Progress:
    """Turns step numbers into a line with speed and time left."""

    def __init__(
        self, config: TrainConfig, start: int, log: Callable[[str], None]
    ) -> None:
        self._config = config
        self._last_step = start
        self._last_time = time.monotonic()
        self._log = log

    def show(self, step: int, row: dict[str, float]) -> None:
        now = time.monotonic()
        rate = (step - self._last_step) / (now - self._last_time)
        self._last_step, self._last_time = step, now
        left = (self._config.num_steps - step) / rate
        images = rate * self._config.global_batch_size
        self._log(
            f"step {step}/{self._config.num_steps}  loss {row['train/loss']:.3f}  "
            f"{images:,.0f} images/s  ETA {_clock(left)}"
        )


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


class _Tracer:
    """Traces a few steps for TensorBoard's profiler, if that is asked for."""

    def __init__(self, backend: Backend, context: RunContext, start: int) -> None:
        self._backend = backend
        self._log = context.log
        self._directory = str(epath.Path(context.workdir) / PROFILE)
        wanted = context.profile and context.devices.is_first
        first = start + PROFILE_AFTER
        self._traced = range(first, first + PROFILE_STEPS) if wanted else range(0)

    @contextlib.contextmanager
    def step(self, step: int) -> Iterator[None]:
        """Surrounds a step."""
        if step not in self._traced:
            yield
            return
        if step == self._traced[0]:
            self._backend.start_trace(self._directory)
        with self._backend.mark(step):
            yield
        if step == self._traced[-1]:
            self._backend.stop_trace()
            self._log(f"a trace of {len(self._traced)} steps is in {self._directory}")
