import re

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from classifier.export.facts import Evaluation
from classifier.training.checkpoint import Checkpoints
from classifier.training.devices import Devices
from classifier.training.journal import EVENTS, Journal
from classifier.training.metrics import METRICS
from tests.classifier.training.events import read_events
from tests.classifier.training.fakes import (
    FakeBackend,
    fake_config,
    fit_fake,
    read_rows,
    run_context,
)


def test_a_state_that_is_not_finite_is_never_saved(tmp_path):
    backend = FakeBackend(poisoned_at=7)
    named = r"\bweight\b.*\b8\b.*\b5\b.*/step-00000004.npz"
    with pytest.raises(FloatingPointError, match=named):
        fit_fake(tmp_path, backend, log_every=5, checkpoint_every=4)
    assert Checkpoints(tmp_path / "checkpoints", keep=1).steps() == [4]


def test_an_evaluation_that_is_not_finite_is_not_the_best(tmp_path):
    backend = FakeBackend()
    backend.predict = lambda images: np.full((10, 2), np.nan)
    with pytest.raises(FloatingPointError, match=r"\b3\b.*\b0\b"):
        fit_fake(tmp_path, backend, evaluate_every=3)
    assert Checkpoints(tmp_path / "checkpoints", keep=1).steps("best") == []


def test_the_checkpoint_of_the_best_evaluation_stays(tmp_path):
    fit_fake(tmp_path, FakeBackend(num_correct=[3, 8, 8, 7]), evaluate_every=3)
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=1)
    assert checkpoints.steps("best") == [6]
    assert checkpoints.steps() == [12]


def test_the_best_of_an_earlier_start_is_remembered(tmp_path):
    changes = {"evaluate_every": 3, "checkpoint_every": 6}
    with pytest.raises(FloatingPointError):
        fit_fake(tmp_path, FakeBackend(num_correct=[3, 8], poisoned_at=12), **changes)
    fit_fake(tmp_path, FakeBackend(num_correct=[7, 6]), **changes)
    assert Checkpoints(tmp_path / "checkpoints", keep=1).steps("best") == [6]


def write_steps(workdir, steps, *, devices=None, evaluated=()):
    """Writes rows of some steps, and a checkpoint of the second; returns the lines."""
    more = {} if devices is None else {"devices": devices}
    context, lines = run_context(workdir, **more)
    journal, backend = Journal(fake_config(), context), FakeBackend()
    journal.resume(backend)
    with journal:
        for step in steps:
            journal.write_metrics(step, {"train/loss": 1.0, "train/top1": 0.75})
            if step in evaluated:
                result = Evaluation(num_examples=4, num_correct=3, cross_entropy=0.5)
                journal.write_evaluation(step, result, backend)
        journal.save(steps[1], backend)
    return lines


def test_rows_after_the_checkpoint_are_dropped_with_a_broken_one(tmp_path):
    write_steps(tmp_path, [1, 2, 3])
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"step": 4, "train/lo')
    context, lines = run_context(tmp_path)
    journal = Journal(fake_config(), context)
    assert journal.resume(FakeBackend()) == 2
    assert "2" in lines[0]
    with journal:
        assert [row["step"] for row in read_rows(tmp_path)] == [1, 2]


def events_of(rows):
    return sorted(
        (row["step"], name, pytest.approx(value))
        for row in rows
        for name, value in row.items()
        if name != "step"
    )


@pytest.mark.parametrize("ends", [[2], [2, 5], []])
def test_a_killed_run_leaves_every_step_once_in_the_events(tmp_path, ends):
    """As in `metrics.jsonl`, whatever the killed runs had written behind it."""
    for end in ends:
        write_steps(tmp_path, [end - 1, end, end + 1, end + 2], evaluated=[end])
    if ends:  # A kill before the events are flushed.
        for path in (tmp_path / EVENTS).iterdir():
            path.write_bytes(path.read_bytes()[:-20])
    write_steps(tmp_path, [7, 8], evaluated=[8])
    rows = read_rows(tmp_path)
    assert len(rows) == 3 + 3 * len(ends)
    assert read_events(tmp_path / EVENTS) == events_of(rows)
    seen = EventAccumulator(str(tmp_path / EVENTS)).Reload()
    steps = [event.step for event in seen.Tensors("train/loss")]
    assert steps == [row["step"] for row in rows if "train/loss" in row]


def test_the_accuracy_of_the_batch_is_logged(tmp_path):
    lines = write_steps(tmp_path, [1, 2])
    assert all(re.search(r"loss 1\.000  accuracy 75\.0%  ", line) for line in lines)


def test_a_run_without_a_checkpoint_says_that_it_starts_over(tmp_path):
    write_steps(tmp_path, [1, 2])
    for path in (tmp_path / "checkpoints").iterdir():
        path.unlink()
    assert write_steps(tmp_path, [1, 2])[0].startswith("starting over")


def test_a_broken_line_is_named(tmp_path):
    write_steps(tmp_path, [1, 2, 3])
    path = tmp_path / METRICS
    first, *rest = path.read_text().splitlines(keepends=True)
    path.write_text(first + '{"step": 2, "train/loss": "low"}\n' + "".join(rest))
    context, _ = run_context(tmp_path)
    journal = Journal(fake_config(), context)
    journal.resume(FakeBackend())
    with (
        pytest.raises(ValueError, match=r"metrics\.jsonl, line 2: .*train/loss"),
        journal,
    ):
        pass


def test_rows_are_in_the_order_of_the_steps(tmp_path):
    write_steps(tmp_path, [1, 2, 3], evaluated=[2])
    rows = read_rows(tmp_path)
    assert rows[2] == {
        "step": 2,
        "evaluation/top1": 0.75,
        "evaluation/cross_entropy": 0.5,
    }
    assert [row["step"] for row in rows] == [1, 2, 2, 3]
    assert rows[0] == {"step": 1, "train/loss": 1.0, "train/top1": 0.75}


def test_only_the_first_process_writes(tmp_path):
    class Second(Devices):
        def broadcast(self, number):
            return number

    second = Second(process=1, num_processes=2)
    write_steps(tmp_path, [1, 2, 3], devices=second, evaluated=[2])
    assert list(tmp_path.iterdir()) == []


def test_a_workdir_that_another_process_does_not_see_is_refused(tmp_path):
    class Second(Devices):
        def broadcast(self, number):
            return 8

    context, _ = run_context(tmp_path, devices=Second(process=1, num_processes=2))
    with pytest.raises(FileNotFoundError, match=r"\b8\b.*--workdir"):
        Journal(fake_config(), context).resume(FakeBackend())
