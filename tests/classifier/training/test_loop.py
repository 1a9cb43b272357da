import contextlib
import dataclasses
import functools
import itertools
import os
import re
import signal
import threading

import numpy as np
import pytest

from classifier.data.sources import open_source
from classifier.models.config import ModelConfig
from classifier.training import input_pipeline, loop, trainer
from classifier.training.backend_tensorflow import TensorFlowBackend
from classifier.training.checkpoint import Checkpoints
from classifier.training.devices import ONE_PROCESS
from stage import interruption, waiting
from stage.preemption import PreemptedError
from tests.classifier.training.fakes import (
    FakeBackend,
    fit_fake,
    read_rows,
    run_context,
)
from tests.images import random_images, write_folder

LABELS = [0, 1, 2, 0, 1]


class KilledError(Exception):
    pass


class Runs:
    """Training runs on five images.

    Two backends of a recipe, compiled once, start every run with the same state. What
    one of them keeps outside its state the other does not have.
    """

    def __init__(self, source, config):
        self._source, self._config = source, config
        self.training_batches = functools.cache(self._training_batches)
        self.backend = functools.cache(self._backend)
        self.evaluation_batches = input_pipeline.evaluation_batches(
            source, config.image, batch_size=config.global_batch_size
        )

    def _training_batches(self, augment, start_step):
        return input_pipeline.training_batches(
            self._source,
            dataclasses.replace(self._config, augment=augment),
            batch_size=self._config.global_batch_size,
            make_target=trainer.hard_targets(self._config, num_classes=3),
            start_step=start_step,
        )

    def _backend(self, config, second):
        """Returns a backend that serves all runs of a recipe, and its first state."""
        backend = TensorFlowBackend(
            *(trainer.build(config, num_classes=3) for _ in "12"), config
        )
        return backend, backend.arrays()

    def fit(
        self, workdir, config, *, second=False, kill_after=None, transform=lambda b: b
    ):
        """Trains in `workdir`; returns the state, the lines logged, the evaluation."""
        backend, _ = self.backend(config, second)
        _, initial = self.backend(config, False)
        backend.load_arrays(initial)

        def make_batches(start_step):
            batches = self.training_batches(config.augment, start_step)
            for step, batch in enumerate(batches, start=start_step):
                if step == kill_after:
                    raise KilledError
                yield transform(batch)

        context, lines = run_context(workdir)
        evaluation = loop.fit(
            backend,
            config,
            make_batches=make_batches,
            make_evaluation_batches=lambda: self.evaluation_batches,
            context=context,
        )
        state = {name: array.copy() for name, array in backend.arrays().items()}
        return state, lines, evaluation


@pytest.fixture(scope="module")
def runs(tmp_path_factory, config):
    root = tmp_path_factory.mktemp("labeled")
    write_folder(root, random_images(len(LABELS)), LABELS)
    return Runs(open_source(f"folder:{root}"), config)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, runs, config):
    workdir = tmp_path_factory.mktemp("undisturbed")
    return workdir, *runs.fit(workdir, config)


def assert_same_state(found, expected):
    assert found.keys() == expected.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


@pytest.mark.parametrize("kill_after", [1, 3])
def test_a_killed_run_ends_bit_for_bit_like_an_undisturbed_one(
    tmp_path, runs, config, undisturbed, kill_after
):
    workdir, state, _, evaluation = undisturbed
    with pytest.raises(KilledError):
        runs.fit(tmp_path, config, kill_after=kill_after)
    resumed, lines, resumed_evaluation = runs.fit(tmp_path, config, second=True)
    saved = kill_after - kill_after % config.checkpoint_every
    assert (f"resuming at step {saved}" in lines) == (saved > 0)
    assert_same_state(resumed, state)
    assert resumed_evaluation == evaluation
    read = [(d / "metrics.jsonl").read_text() for d in (tmp_path, workdir)]
    assert read[0] == read[1]


@pytest.mark.slow
def test_another_network_resumes_bit_for_bit_too(tmp_path, runs, config):
    """Its unnamed layers and its seeds of dropout must be found again."""
    other = dataclasses.replace(config, model=ModelConfig(name="MobileNet"))
    expected, *_ = runs.fit(tmp_path / "undisturbed", other)
    with pytest.raises(KilledError):
        runs.fit(tmp_path / "killed", other, kill_after=3)
    resumed, *_ = runs.fit(tmp_path / "killed", other, second=True)
    assert_same_state(resumed, expected)


def test_a_finished_run_only_evaluates_again(undisturbed, runs, config):
    workdir, _, _, evaluation = undisturbed
    _, lines, again = runs.fit(workdir, config, second=True, kill_after=0)
    assert lines[0] == f"resuming at step {config.num_steps}"
    assert again == evaluation


def test_metrics_have_a_row_for_every_due_step(undisturbed, config):
    workdir, *_ = undisturbed
    rows = read_rows(workdir)
    steps = [row["step"] for row in rows if "train/loss" in row]
    assert steps == list(range(1, config.num_steps + 1))
    assert [row["step"] for row in rows if "evaluation/top1" in row] == [3, 6]
    assert list((workdir / "events").iterdir())


def test_scalars_are_fetched_only_when_they_are_written(tmp_path):
    backend = FakeBackend()
    lines = fit_fake(tmp_path, backend, log_every=5)
    assert backend.fetched == 3
    steps = [row["step"] for row in read_rows(tmp_path) if "train/loss" in row]
    assert steps == [5, 10, 12]
    shown = [line for line in lines if "images/s" in line]
    assert len(shown) == 3
    assert all(re.search(r"images/s  ETA \d+:\d\d:\d\d$", line) for line in shown)


def test_a_loss_that_is_not_finite_stops_with_step_and_checkpoint(
    tmp_path, runs, config
):
    steps = itertools.count()

    def poison(batch):
        if next(steps) < 3:
            return batch
        return {**batch, "target": batch["target"] * np.float32("nan")}

    named = r"\bnan\b.*\b4\b.*\b3\b.*/step-00000002.npz"
    with pytest.raises(FloatingPointError, match=named):
        runs.fit(tmp_path, config, transform=poison)


def test_sigterm_saves_the_state_of_the_step(tmp_path):
    class Preempted(FakeBackend):
        def train_step(self, batch):
            if self.step == 4:
                signal.raise_signal(signal.SIGTERM)
            return super().train_step(batch)

    with pytest.raises(PreemptedError, match=r"\b5\b"):
        fit_fake(tmp_path, Preempted())
    assert Checkpoints(tmp_path / "checkpoints", keep=1).steps() == [5]


@pytest.mark.parametrize(
    ("checkpoint_every", "words"), [(2, "goes on from step 4"), (9, "starts over")]
)
def test_an_end_without_saving_says_where_the_next_start_begins(
    tmp_path, monkeypatch, checkpoint_every, words
):
    monkeypatch.setattr(interruption, "_were_called", False)
    lines = []

    class Ended(FakeBackend):
        def train_step(self, batch):
            if self.step == 5:
                lines.append(interruption.run_callbacks(signal.SIGINT))
            return super().train_step(batch)

    fit_fake(tmp_path, Ended(), checkpoint_every=checkpoint_every)
    (line,) = lines
    assert line.startswith("interrupted; ")
    assert line.endswith(words)


@pytest.mark.parametrize("steps", [0, 5])
def test_what_was_done_is_saved_though_no_batch_comes(tmp_path, monkeypatch, steps):
    monkeypatch.setattr(waiting, "PATIENCE", 0.05)
    is_over = threading.Event()

    def make_batches():
        yield from [{}] * steps
        os.kill(os.getpid(), signal.SIGTERM)
        is_over.wait(60)

    message = rf"saved at step {steps}" if steps else "nothing to save"
    with pytest.raises(PreemptedError, match=message):
        fit_fake(tmp_path, FakeBackend(), batches=make_batches())
    is_over.set()
    saved = Checkpoints(tmp_path / "checkpoints", keep=1).steps()
    assert saved == ([steps] if steps else [])


class TracedBackend(FakeBackend):
    """Keeps what it is asked to trace."""

    def __init__(self):
        super().__init__()
        self.events = []

    def start_trace(self, directory):
        self.events.append(directory)

    def mark(self, step):
        self.events.append(step)
        return contextlib.nullcontext()

    def stop_trace(self):
        self.events.append("stop")


def test_a_trace_covers_a_few_steps_after_the_first(tmp_path):
    backend = TracedBackend()
    lines = fit_fake(tmp_path, backend, profile=True)
    directory = str(tmp_path / loop.PROFILE)
    assert backend.events == [directory, 3, 4, 5, 6, 7, "stop"]
    assert any(directory in line for line in lines)
    without = TracedBackend()
    fit_fake(tmp_path / "without", without)
    assert without.events == []


def test_a_trace_ends_with_a_short_run(tmp_path):
    backend = TracedBackend()
    lines = fit_fake(tmp_path, backend, profile=True, num_steps=6)
    assert backend.events == [str(tmp_path / loop.PROFILE), 3, 4, 5, "stop"]
    assert any("3 steps" in line for line in lines)


def test_a_run_too_short_for_a_trace_says_so(tmp_path):
    backend = TracedBackend()
    lines = fit_fake(tmp_path, backend, profile=True, num_steps=3)
    assert backend.events == []
    assert "no trace: it begins after 3 of 3 steps" in lines


def test_the_loss_falls(tmp_path, runs, config):
    longer = dataclasses.replace(
        config,
        num_steps=40,
        evaluate_every=100,
        model=dataclasses.replace(
            config.model, dropout_rate=0.0, stochastic_depth_rate=0.0
        ),
        augment=dataclasses.replace(config.augment, num_ops=0),
    )
    runs.fit(tmp_path, longer)
    losses = [row["train/loss"] for row in read_rows(tmp_path) if "train/loss" in row]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def test_evaluation_counts_by_weight():
    class Backend:
        def predict(self, images):
            return images

    logits = np.array([[2.0, 0.0], [0.0, 1.0], [5.0, 0.0], [9.0, 0.0]])
    batch = {"image": logits, "label": [0, 1, 1, 0], "weight": [1.0, 1.0, 1.0, 0.0]}
    result = loop.evaluate(Backend(), [batch], ONE_PROCESS)
    expected = np.mean(
        [np.log1p(np.exp(-2)), np.log1p(np.exp(-1)), np.log1p(np.exp(5))]
    )
    assert (result.num_examples, result.num_correct) == (3, 2)
    assert result.cross_entropy == pytest.approx(expected)
    assert result.top1 == pytest.approx(2 / 3)
