"""The training loop: steps, evaluations, checkpoints and an optional trace.

A run resumes from its newest checkpoint: rows of `metrics.jsonl` after that step are
dropped, and the data stream goes on from there.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from etils import epath

from classifier.export.facts import Evaluation
from classifier.training.backend import Backend
from classifier.training.config import TrainConfig
from classifier.training.devices import Devices, RunContext
from classifier.training.journal import Journal
from stage.interruption import on_interrupt
from stage.preemption import PreemptedError, watched
from stage.waiting import StalledError, in_background

PROFILE = "profile"
#: Steps left out of the trace at the start, during which things are compiled.
PROFILE_AFTER = 3
#: Maximum number of steps in a trace; with several, waits between steps show as well.
PROFILE_STEPS = 5


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
        backend: Backend with a fresh state.
        config: The recipe.
        make_batches: Maps the number of steps done to the batches that follow, this
            process's share of each.
        make_evaluation_batches: Returns one pass over this process's share of the
            evaluation images, see `input_pipeline.evaluation_batches`.
        context: Directory, devices and log of the run.

    Returns:
        The evaluation of the final averaged network.

    Raises:
        FloatingPointError: If the loss or the state is no longer finite.
        PreemptedError: If SIGTERM or Ctrl-C came; the state is saved.
        ValueError: If no checkpoint fits, or `metrics.jsonl` is broken.
    """
    devices = context.devices
    journal = Journal(config, context)
    start = journal.resume(backend)
    steps = range(start, config.num_steps)
    tracer = _Tracer(backend, context, steps)
    done = saved = start

    def end_stalled() -> PreemptedError:
        if done > saved:
            journal.save(done, backend)
        return notice.error(done)

    with (
        journal,
        on_interrupt(lambda _: _describe_end(saved)),
        watched(is_alone=devices.num_processes == 1) as notice,
        _preempted_if_stalled(end_stalled),
    ):
        wait = functools.partial(in_background, should_stop=lambda: notice.given)
        # A finished run does not open its data.
        batches = make_batches(start) if steps else ()
        for step, batch in zip(steps, wait(batches), strict=False):
            with tracer.step(step):
                metrics = backend.train_step(batch)
            done, notice.has_work = step + 1, True
            if _is_due(done, config.log_every, config):
                journal.write_metrics(done, metrics)
            if done < config.num_steps and done % config.evaluate_every == 0:
                evaluation = evaluate(backend, wait(make_evaluation_batches()), devices)
                journal.write_evaluation(done, evaluation, backend)
            is_preempted = devices.is_preempted(done, here=notice.given)
            if is_preempted or _is_due(done, config.checkpoint_every, config):
                journal.save(done, backend)
                saved = done
            if is_preempted and done < config.num_steps:
                raise notice.error(done)
        if done < config.num_steps:
            raise ValueError(f"expected {config.num_steps} batches, got {done}")
        evaluation = evaluate(backend, wait(make_evaluation_batches()), devices)
        journal.write_evaluation(config.num_steps, evaluation, backend)
    return evaluation


def _describe_end(saved: int) -> str:
    """Returns what Ctrl-C says if it ends the run before its state is saved."""
    if saved:
        return f"interrupted; the same command goes on from step {saved}"
    return "interrupted; nothing is saved yet, the same command starts over"


@contextlib.contextmanager
def _preempted_if_stalled(end: Callable[[], PreemptedError]) -> Iterator[None]:
    """Ends a run that was asked to stop while it waits for images that do not come."""
    try:
        yield
    except StalledError as error:
        raise end() from error


def evaluate(
    backend: Backend, batches: Iterable[dict[str, Any]], devices: Devices
) -> Evaluation:
    """Returns the evaluation of the averaged network on weighted batches.

    Each process gives its own batches; all get the result over all of them.
    """
    sums = np.zeros(3)
    for batch in batches:
        logits = np.asarray(backend.predict(batch["image"]), np.float64)
        label = np.asarray(batch["label"])
        weight = np.asarray(batch["weight"])
        peak = logits.max(-1, keepdims=True)
        log_sum = peak[:, 0] + np.log(np.exp(logits - peak).sum(-1))
        label_logit = np.take_along_axis(logits, label[:, None], axis=-1)[:, 0]
        is_correct = logits.argmax(-1) == label
        sums += [
            weight.sum(),
            (is_correct * weight).sum(),
            ((log_sum - label_logit) * weight).sum(),
        ]
    count, correct, nats = devices.total(sums)
    return Evaluation(
        num_examples=int(count),
        num_correct=int(correct),
        cross_entropy=float(nats / max(count, 1.0)),
    )


def _is_due(done: int, every: int, config: TrainConfig) -> bool:
    return done % every == 0 or done == config.num_steps


class _Tracer:
    """Traces a few steps for TensorBoard's profiler if the context asks for it."""

    def __init__(self, backend: Backend, context: RunContext, steps: range) -> None:
        self._backend = backend
        self._log = context.log
        self._directory = str(epath.Path(context.workdir) / PROFILE)
        is_on = context.profile and context.devices.is_first
        traced = steps[PROFILE_AFTER : PROFILE_AFTER + PROFILE_STEPS]
        self._traced = traced if is_on else range(0)
        if is_on and not traced:
            self._log(
                f"no trace: it begins after {PROFILE_AFTER} of {len(steps)} steps"
            )

    def _delete_earlier(self) -> None:
        """Deletes the trace of a run that was killed, whose steps are traced again."""
        if epath.Path(self._directory).exists():
            epath.Path(self._directory).rmtree()

    @contextlib.contextmanager
    def step(self, step: int) -> Iterator[None]:
        """Wraps a step."""
        if step not in self._traced:
            yield
            return
        if step == self._traced[0]:
            self._delete_earlier()
            self._backend.start_trace(self._directory)
        with self._backend.mark(step):
            yield
        if step == self._traced[-1]:
            self._backend.stop_trace()
            self._log(f"a trace of {len(self._traced)} steps is in {self._directory}")
