"""Events of one start; those of a run that was killed are tested with the journal."""

import pytest

from classifier.training.tensorboard_tracker import TensorBoardTracker
from tests.classifier.training.events import read_events

ROWS = {5: {"train/loss": 0.5, "train/top1": 0.25}, 9: {"evaluation/top1": 1.0}}


def track(directory, rows, status="finished"):
    tracker = TensorBoardTracker(directory)
    for step, values in rows.items():
        tracker.log_metrics(step, values)
    tracker.finish(status)


@pytest.mark.parametrize("status", ["finished", "failed", "killed"])
def test_each_value_is_an_event_of_its_step_however_the_run_ends(tmp_path, status):
    track(tmp_path / "events", ROWS, status)
    assert read_events(tmp_path / "events") == [
        (step, name, value)
        for step, values in sorted(ROWS.items())
        for name, value in sorted(values.items())
    ]


def test_a_start_takes_the_place_of_the_events_before(tmp_path):
    track(tmp_path / "events", ROWS)
    (tmp_path / "events" / "other").touch()
    track(tmp_path / "events", {1: {"train/loss": 2.0}})
    assert read_events(tmp_path / "events") == [(1, "train/loss", 2.0)]
    assert not (tmp_path / "events" / "other").exists()
