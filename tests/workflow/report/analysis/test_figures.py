import dataclasses
import json

import pyarrow.parquet as pq
import pytest

from pseudo_label.selection import precision
from tests.workflow.report import runs
from workflow.report.analysis import figures
from workflow.report.analysis.missing import Missing


def test_nothing_is_missing_where_all_is_there(found):
    content = [value for round in found.rounds for value in vars(round).values()] + [
        *vars(found).values()
    ]
    assert not [value for value in content if isinstance(value, Missing)]
    assert found.class_names == runs.NAMES
    assert found.run == "demo"


def test_accuracies_have_wilson_intervals(found):
    assert [accuracy.name for accuracy in found.accuracies] == [
        *("control", "teacher", "student 1", "student 2")
    ]
    teacher = found.accuracies[1].share
    assert (teacher.low, teacher.high) == precision.wilson_interval(492, 600)


def test_students_are_compared_image_by_image(found):
    gains = {(gain.name, gain.over): gain for gain in found.gains}
    assert list(gains) == [
        ("student 2", "teacher"),
        ("student 2", "control"),
        ("student 1", "teacher"),
        ("student 2", "student 1"),
    ]
    paired = gains["student 2", "teacher"]
    assert paired.paired
    assert paired.share.estimate == pytest.approx(0.06)
    assert gains["student 2", "control"].paired


def test_different_images_are_not_paired(copied):
    path = copied / "round-2" / "evaluation" / "evaluation.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(0, "key", [[f"{i}" for i in range(600)]]), path)
    found, _ = runs.read_figures(copied)
    assert not found.gains[0].paired
    assert found.gains[2].paired


def test_diagnoses_rest_on_the_figures(found):
    first, second = found.diagnoses
    assert (first.below, second.below) == ((), ("student 1",))
    gains = {(gain.name, gain.over): gain for gain in found.gains}
    lost = gains["student 2", "student 1"].share
    assert second.differences == (lost,)
    assert second.may_be_chance == (lost.high >= 0)
    kept = found.rounds[1].kept
    findings = {cause.name: cause.finding for cause in second.causes}
    assert f"{kept.estimate:.1%} are right" in findings["labels"]
    assert "accuracy is 90.0%" in findings["labels"]
    assert "has learned 97.0%" in findings["fit"]
    assert "without 97.0%" in findings["noise"]


def test_a_teacher_comes_before_the_control(tmp_path):
    plan = runs.Plan(accuracies=(0.8, 0.9, 0.7), control=0.85)
    found, _ = runs.read_figures(runs.make(tmp_path / "run", plan))
    last = found.diagnoses[-1]
    assert last.below == ("student 1", "control")
    assert [d.estimate for d in last.differences] == pytest.approx([-0.2, -0.15])
    assert not last.may_be_chance
    plan = runs.Plan(accuracies=(0.8, 0.798), control=0.802)
    found, _ = runs.read_figures(runs.make(tmp_path / "chance", plan))
    (last,) = found.diagnoses
    assert last.below == ("teacher", "control")
    assert last.may_be_chance


def test_the_reason_to_stop_is_read(copied):
    content = {"stopped": True, "reason": "no gain", "best_round": 1, "rounds": []}
    (copied / "rounds.json").write_text(json.dumps(content))
    # What was only calibrated, to decide that, is no round.
    runs.write(copied / "round-3" / "calibration" / "calibration.json", {})
    found, _ = runs.read_figures(copied)
    assert found.stopping == figures.Stopping(reason="no gain", best_round=1)
    assert len(found.rounds) == 2


def test_json_holds_the_verdict_and_all_figures(complete_run):
    found, report = runs.read_figures(complete_run)
    content = json.loads(json.dumps(figures.to_json(found, report)))
    for name, value in json.loads(json.dumps(report)).items():
        if name != "rounds":
            assert content[name] == value
    for before, after in zip(report["rounds"], content["rounds"], strict=True):
        assert before.items() <= after.items()
    expected = dataclasses.asdict(found.rounds[0].coverage[3].precision)
    assert content["rounds"][0]["coverage"][3]["precision"] == expected
    names = {field.name for field in dataclasses.fields(figures.Figures)}
    assert names - {"class_names"} <= set(content)


def test_a_stage_that_is_broken_is_named(copied):
    path = copied / "round-2" / "predictions" / "config.json"
    path.write_text("{")
    with pytest.raises(ValueError, match=r"predictions/config\.json"):
        runs.read_figures(copied)
