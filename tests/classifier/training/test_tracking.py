"""What trackers receive, with one that the tests hold."""

import contextlib
import importlib.util
import json

import pytest

from classifier.training import devices, tracker, tracking
from classifier.training.devices import Devices
from classifier.training.journal import Journal
from classifier.training.tracking import parse
from stage import artifact, interruption, preemption
from tests.classifier.training.fakes import (
    FakeBackend,
    fake_config,
    read_rows,
    run_context,
)
from tests.held_tracker import hold_tracker


@pytest.fixture
def held(monkeypatch):
    return hold_tracker(monkeypatch)


def write_steps(workdir, steps, *log_to, saved=None, error=None):
    """Writes rows of some steps and a checkpoint, as a start of a run; its lines."""
    workdir.mkdir(exist_ok=True)
    context, lines = run_context(workdir)
    tracked = tracking.tracked(parse(log_to), workdir, {"a": {"b": 1}}, context.log)
    with contextlib.suppress(RuntimeError), tracked as trackers:
        context = devices.RunContext(**{**vars(context), "trackers": trackers})
        journal, backend = Journal(fake_config(), context), FakeBackend()
        journal.resume(backend)
        with journal:
            for step in steps:
                journal.write_metrics(step, {"train/loss": step, "train/top1": 0.5})
            journal.save(saved or steps[-1], backend)
        if error:
            raise error
    return lines


MLFLOW = "mlflow:http://localhost:1"


def test_each_row_is_sent_once_to_one_run(held, tmp_path):
    """Also if a start was killed behind its checkpoint, or knew no tracker."""
    write_steps(tmp_path, [1, 2, 3, 4], MLFLOW, saved=2, error=RuntimeError())
    write_steps(tmp_path, [3, 4, 5], MLFLOW)
    write_steps(tmp_path, [6])
    write_steps(tmp_path, [7, 8], MLFLOW)
    assert held.rows == {"run-0": read_rows(tmp_path)}
    assert [row["step"] for row in held.rows["run-0"]] == list(range(1, 9))
    assert held.ends == ["failed", "finished", "finished"]
    assert held.settings == {"a": {"b": 1}}


def test_a_tracker_that_is_added_later_gets_all_rows(held, tmp_path):
    write_steps(tmp_path, [1, 2], MLFLOW)
    write_steps(tmp_path, [3], MLFLOW, "wandb:birds")
    assert held.rows["run-1"][:2] == held.rows["run-0"][:2]
    assert {row["step"] for row in held.rows["run-1"]} == {1, 2, 3}


def test_a_tracker_that_fails_is_one_line_and_gets_the_rows_later(
    held, tmp_path, monkeypatch
):
    held.failures = 2
    monkeypatch.setattr(tracking, "PAUSE_SECONDS", 0.0)
    lines = write_steps(tmp_path, [1, 2, 3, 4], MLFLOW)
    (line,) = [line for line in lines if "timed out" in line]
    assert MLFLOW in line
    assert "the training goes on" in line
    assert held.rows["run-0"] == read_rows(tmp_path)


def test_a_tracker_that_fails_is_not_tried_again_at_once(held, tmp_path):
    held.failures = 1
    write_steps(tmp_path, [1, 2, 3], MLFLOW)
    assert held.failures == 0
    # At the end, whatever the pause.
    assert held.rows["run-0"] == read_rows(tmp_path)


def test_rows_that_were_never_sent_are_sent_by_the_next_start(held, tmp_path):
    held.failures = 10
    write_steps(tmp_path, [1, 2], MLFLOW)
    assert held.rows["run-0"] == held.ends == []
    held.failures = 0
    write_steps(tmp_path, [3], MLFLOW)
    assert held.rows["run-0"] == read_rows(tmp_path)


def test_a_tracker_that_cannot_be_reached_is_refused_only_at_first(held, tmp_path):
    held.is_down = True
    tracked = tracking.tracked(parse([MLFLOW]), tmp_path, {}, print)
    refused = rf"^--log_to={MLFLOW}: .* no route; "
    with pytest.raises(ValueError, match=refused), tracked:
        pytest.fail("the block has run")
    held.is_down = False
    write_steps(tmp_path, [1], MLFLOW)
    held.is_down = True
    lines = write_steps(tmp_path, [2], MLFLOW)
    assert any("no route" in line for line in lines)
    assert len(read_rows(tmp_path)) == 2


def test_a_tracker_is_ended_if_another_cannot_be_reached(held, tmp_path, monkeypatch):
    def refuse(where, setup):
        raise RuntimeError("no route")

    open_run = {"mlflow": held.open_run, "wandb": refuse}
    monkeypatch.setattr(tracking, "_opener", open_run.get)
    tracked = tracking.tracked(parse([MLFLOW, "wandb:birds"]), tmp_path, {}, print)
    with pytest.raises(ValueError, match=r"wandb:birds: .* no route"), tracked:
        pytest.fail("the block has run")
    assert held.ends == ["failed"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "finished"),
        (FloatingPointError(), "failed"),
        (preemption.PreemptedError("saved"), "killed"),
        (KeyboardInterrupt(), "killed"),
    ],
)
def test_how_a_run_has_ended_is_told(held, tmp_path, error, status):
    tracked = tracking.tracked(parse([MLFLOW]), tmp_path, {}, print)
    with contextlib.suppress(BaseException), tracked:
        if error:
            raise error
    assert held.ends == [status]


def test_an_end_without_cleaning_up_is_told_too(held, tmp_path, monkeypatch):
    monkeypatch.setattr(interruption, "_were_called", False)
    with tracking.tracked(parse([MLFLOW]), tmp_path, {}, print):
        interruption.run_callbacks(2)
        assert held.ends == ["killed"]


def test_only_the_first_process_opens_trackers(held, tmp_path, monkeypatch):
    monkeypatch.setattr(Devices, "broadcast", lambda self, number: 0)
    monkeypatch.setattr("classifier.export.model_card.write", lambda directory: None)
    for process in (1, 0):
        host = Devices(process=process, num_processes=2)
        with devices.started_run(
            {"a": 1}, host, str(tmp_path / "run"), log_to=parse([MLFLOW])
        ) as context:
            assert len(context.trackers) == (process == 0)
    assert len(held.rows) == 1


def test_trackers_decide_nothing_and_are_no_content(held, tmp_path, monkeypatch):
    monkeypatch.setattr("classifier.export.model_card.write", lambda directory: None)
    workdir = tmp_path / "run"
    for log_to, is_complete in ((MLFLOW, False), ("wandb:birds", True)):
        with devices.started_run(
            {"a": 1}, Devices(), str(workdir), log_to=parse([log_to])
        ) as context:
            assert (context is None) == is_complete
    assert json.loads((workdir / artifact.CONFIG).read_text()) == {"a": 1}
    assert artifact.read_completed(workdir).files.keys() == {artifact.CONFIG}
    (workdir / artifact.TRACKERS).unlink()
    artifact.check_sizes(workdir)


@pytest.mark.parametrize(
    ("log_to", "words"),
    [
        (["tensorboard"], "--log_to=mlflow:URI or --log_to=wandb:PROJECT"),
        (["mlflow:"], "a URI"),
        (["mlflow:5000"], "a URI"),
        (["wandb:a/b/c"], "PROJECT"),
        (["mlflow:http://me:secret@host"], "docs/tracking.md"),
        (["wandb:a", "wandb:a"], "once"),
    ],
)
def test_what_names_no_tracker_is_refused(held, log_to, words):
    with pytest.raises(ValueError, match=words) as raised:
        parse(log_to)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("log_to", [MLFLOW, "wandb:birds"])
def test_without_its_package_the_extra_is_named(monkeypatch, log_to):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    kind = log_to.partition(":")[0]
    with pytest.raises(ValueError, match=rf"pip install .*'\.\[{kind}\]'"):
        parse([log_to])


def test_settings_are_flat_and_short():
    settings = {"config": {"optimizer": {"momentum": 0.9}}, "long": ["x" * 9000]}
    flat = tracker.short_settings(settings)
    assert flat["config.optimizer.momentum"] == "0.9"
    assert len(flat["long"]) < 1000
