import json

import pytest

from tests.commands import call
from workflow import rounds


def calibrate(directory, accuracy, *, kind="held_out", images="abc"):
    directory.mkdir(parents=True)
    config = {"kind": kind, "labeled": {"fingerprint": images}}
    facts = {"accuracy": accuracy, "num_images": 200}
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "calibration.json").write_text(json.dumps(facts))
    (directory / "COMPLETED").write_text("{}")


def calibrate_all(root, accuracies, **changes):
    for number, accuracy in enumerate(accuracies, start=1):
        calibrate(root / f"round-{number}" / "calibration", accuracy, **changes)


@pytest.mark.parametrize(
    ("accuracies", "patience", "stops"),
    [
        ([0.8, 0.9], 1, False),
        ([0.8, 0.9, 0.91], 1, False),
        ([0.8, 0.8], 1, True),
        ([0.8, 0.7], 1, True),
        ([0.8, 0.7], 2, False),
        ([0.8, 0.7, 0.75], 2, True),  # Better than its teacher, not than the first.
        ([0.8, 0.7, 0.81], 2, False),
        ([0.8, 0.9, 0.85, 0.9], 2, True),
        ([0.8, 0.9, 0.85, 0.86], 3, False),
    ],
)
def test_patience_counts_students_that_do_not_beat_the_best(
    accuracies, patience, stops
):
    reason = rounds.reason_to_stop(rounds.compare_rounds(accuracies), patience=patience)
    assert (reason is not None) == stops


@pytest.mark.parametrize(
    ("accuracies", "best"),
    [([0.8, 0.7], 0), ([0.8, 0.9, 0.85], 1), ([0.8, 0.9, 0.9], 1), ([0, 0.1, 0.2], 2)],
)
def test_the_best_is_the_first_of_the_highest(accuracies, best):
    content = rounds.to_json(rounds.compare_rounds(accuracies), None, num_images=200)
    assert content["best_round"] == best


def test_accuracies_end_where_rounds_do(tmp_path):
    calibrate_all(tmp_path, [0.8, 0.9])
    calibrate(tmp_path / "round-4" / "calibration", 0.99)
    assert rounds.read_accuracies(tmp_path) == ([0.8, 0.9], 200)


def test_one_classifier_alone_is_an_error(tmp_path):
    calibrate_all(tmp_path, [0.8])
    with pytest.raises(ValueError, match="round-1/calibration"):
        rounds.read_accuracies(tmp_path)


def test_rounds_on_different_images_cannot_be_compared(tmp_path):
    calibrate_all(tmp_path, [0.8])
    calibrate(tmp_path / "round-2" / "calibration", 0.9, images="def")
    with pytest.raises(ValueError, match="round-2/calibration"):
        rounds.read_accuracies(tmp_path)


def test_accuracies_on_training_images_are_refused(tmp_path):
    calibrate_all(tmp_path, [0.8, 0.9], kind="out_of_fold")
    with pytest.raises(ValueError, match=r"data\.calibration"):
        rounds.read_accuracies(tmp_path)


def decide(root, *flags):
    process = call("workflow.rounds", f"--run={root}", *flags)
    return process.returncode, process.stdout


def test_the_exit_status_is_the_decision(tmp_path):
    calibrate_all(tmp_path, [0.8, 0.9])
    status, output = decide(tmp_path)
    assert status == 0, output
    assert "best so far: round-1/student" in output
    calibrate(tmp_path / "round-3" / "calibration", 0.85)
    status, output = decide(tmp_path)
    assert status == rounds.STOP
    assert "round 2 (85.00%)" in output
    content = json.loads((tmp_path / rounds.ROUNDS).read_text())
    assert content["stopped"]
    assert content["best_round"] == 1
    assert [each["is_best"] for each in content["rounds"]] == [True, False]
    assert decide(tmp_path, "--patience=2")[0] == 0
    assert decide(tmp_path / "none")[0] == 1
