import dataclasses
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pseudo_label.selection import precision, what_if
from tests.workflow.report import runs
from workflow.report.analysis import figures, learning_curves, run_files, verdict
from workflow.report.analysis.missing import Missing
from workflow.report.analysis.round_figures import MOST_ROWS
from workflow.report.analysis.run_files import Run

NAMES = ("ant", "bee", "cat", "dog")


def read(run):
    report = verdict.make_report(run)
    return figures.read_figures(run, report), report


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    plan = runs.Plan(class_names=NAMES, accuracies=(0.82, 0.9, 0.88), calibrated=True)
    return runs.make(tmp_path_factory.mktemp("figures") / "demo", plan)


@pytest.fixture(scope="module")
def found(run):
    return read(run)[0]


@pytest.fixture
def copied(run, tmp_path):
    return shutil.copytree(run, tmp_path / "copy")


def test_nothing_is_missing_where_all_is_there(found):
    content = [value for one in found.rounds for value in vars(one).values()] + [
        *vars(found).values()
    ]
    assert not [value for value in content if isinstance(value, Missing)]
    assert found.class_names == NAMES
    assert found.run == "demo"


def test_accuracies_have_wilson_intervals(found):
    assert [one.name for one in found.accuracies] == [
        *("control", "teacher", "student 1", "student 2")
    ]
    teacher = found.accuracies[1].share
    assert (teacher.low, teacher.high) == precision.wilson_interval(492, 600)


def test_students_are_compared_image_by_image(found):
    gains = {(one.name, one.over): one for one in found.gains}
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


def test_of_other_images_nothing_is_paired(copied):
    path = copied / "round-2" / "evaluation" / "evaluation.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(0, "key", [[f"{i}" for i in range(600)]]), path)
    found, _ = read(copied)
    assert not found.gains[0].paired
    assert found.gains[2].paired


def test_what_cannot_be_decoded_is_wrong_and_judges_nothing(tmp_path):
    table = pa.table(
        {
            "key": ["b", "c", "a"],
            "label": pa.array([1, -1, 0], pa.int32()),
            "predicted": pa.array([1, None, 2], pa.int32()),
            "confidence": pa.array([0.5, None, 0.25], pa.float32()),
            "status": ["ok", "broken", "ok"],
        }
    )
    pq.write_table(table, tmp_path / "evaluation.parquet")
    evaluated = run_files.read_evaluated(tmp_path / "evaluation.parquet")
    assert evaluated.key.tolist() == ["a", "b", "c"]
    assert evaluated.is_right.tolist() == [False, True, False]
    assert evaluated.decoded().confidence.tolist() == [0.25, 0.5]


def test_a_calibration_judges_before_the_test_images(found):
    first, second = found.rounds
    assert (first.judges.kind, first.judges.images) == ("held_out", 500)
    assert (second.judges.kind, second.judges.images) == ("test", 600)


def test_kept_labels_are_judged_where_the_classes_are_cut(run, found):
    labeled, judges = Run(run).labeled_round(2), Run(run).labeled_predictions(2)
    kept = [
        label == predicted
        for label, predicted, confidence in zip(
            judges.label, judges.predicted, judges.confidence, strict=True
        )
        if confidence >= labeled.selection.classes[predicted].cut_off.confidence
    ]
    assert found.rounds[1].kept.images == len(kept)
    assert found.rounds[1].kept.right == sum(kept)


def test_an_estimate_of_the_selection_counts_first(copied):
    path = copied / "round-2" / "selection" / "selection.json"
    content = json.loads(path.read_text())
    kept = {"estimate": 0.5, "low": 0.4, "high": 0.6, "images": 10, "right": 5}
    content["estimate"] = {"kind": "held_out", "above_threshold": kept, "kept": kept}
    path.write_text(json.dumps(content))
    found, _ = read(copied)
    assert found.rounds[1].kept.estimate == 0.5


def test_classes_are_counted_before_and_after(run, found):
    labeled = Run(run).labeled_round(1)
    classes = found.rounds[0].classes
    assert [one.name for one in classes.fewest] == list(NAMES)
    assert [one.unique for one in classes.fewest] == [
        rule.unique for rule in labeled.selection.classes
    ]
    assert sum(one.predicted for one in classes.fewest) == sum(
        found.rounds[0].confidences.bars
    )
    assert classes.ranks.unique == tuple(
        sorted((one.unique for one in classes.fewest), reverse=True)
    )


def test_of_many_classes_few_numbers_are_left(tmp_path):
    names = tuple(f"class {index}" for index in range(400))
    plan = runs.Plan(class_names=names, accuracies=(0.8, 0.9), tested=1000)
    found, report = read(runs.make(tmp_path / "run", plan))
    (only,) = found.rounds
    assert only.classes.count == 400
    assert len(only.classes.fewest) == len(only.class_precision) == MOST_ROWS
    assert only.classes.ranks.places[::99] == (1, 400)
    assert len(only.classes.ranks.records) == 100
    assert only.judged_classes > 100
    highs = [one.precision.high for one in only.class_precision]
    assert highs == sorted(highs)
    assert len(json.dumps(figures.to_json(found, report))) < 100_000


def test_a_table_that_was_asked_for_is_taken(copied):
    cell = what_if.WhatIfCell(
        confidence_threshold=0.7,
        images_per_class=200,
        records=5,
        unique=4,
        copies=1,
        empty_classes=0,
        precision=None,
    )
    path = copied / "round-1" / "selection" / "what_if.json"
    path.write_text(json.dumps(what_if.to_json([cell])))
    found, _ = read(copied)
    assert found.rounds[0].what_if.cells == (cell,)
    assert len(found.rounds[1].what_if.cells) > 1
    assert found.rounds[1].what_if.threshold == 0.7


def test_curves_are_averaged_and_noise_is_judged_at_the_end(tmp_path):
    directory = tmp_path / "control"
    directory.mkdir()
    rows = [
        {"step": i, "train/top1": float(i > 600), "train/loss": float(i)}
        for i in range(1, 1001)
    ]
    lines = [json.dumps(row) for row in rows]
    (directory / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 10']))
    loss, series = learning_curves.read_learning(Run(tmp_path), 0)
    assert len(loss.points) == 60
    # One batch says little.
    assert len(series.points) == 12
    assert np.mean([y for _, y in series.points]) == pytest.approx(0.4, abs=0.02)
    assert learning_curves.under_noise([series], "control") == 1.0
    assert learning_curves.under_noise([series], "student 1") is None


def test_diagnoses_rest_on_the_figures(found):
    first, second = found.diagnoses
    assert (first.below, second.below) == ((), ("student 1",))
    kept = found.rounds[1].kept
    told = {one.name: one.finding for one in second.causes}
    assert f"{kept.estimate:.1%} are right" in told["labels"]
    assert "right about 90.0%" in told["labels"]
    assert "repeats 97.0%" in told["fit"]
    assert "without 97.0%" in told["noise"]


def test_stages_come_as_they_were_made(found):
    names = [stage.name for stage in found.stages]
    assert names[:4] == [
        *("round-1/teacher/member-1", "round-1/teacher/member-2"),
        *("round-1/teacher/evaluation", "round-1/calibration"),
    ]
    assert names[-2:] == ["control", "control/evaluation"]
    assert names.index("round-2/dataset") < names.index("round-2/student")
    by_name = {stage.name: stage for stage in found.stages}
    assert by_name["round-2/student"].seed == 12
    assert by_name["round-2/predictions"].fingerprints == {
        "teachers.1": "0123456789abcdef" * 4
    }


def test_the_reason_to_stop_is_told(copied):
    content = {"stopped": True, "reason": "no gain", "best_round": 1, "rounds": []}
    (copied / "rounds.json").write_text(json.dumps(content))
    # What was only calibrated, to decide that, is no round.
    runs.write(copied / "round-3" / "calibration" / "calibration.json", {})
    found, _ = read(copied)
    assert found.stopping == figures.Stopping(reason="no gain", best_round=1)
    assert len(found.rounds) == 2


def test_json_holds_what_it_held_and_all_figures(run):
    found, report = read(run)
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


@pytest.mark.parametrize(
    ("gone", "missing"),
    [
        ("round-1/teacher/evaluation/evaluation.parquet", {"confusions"}),
        ("round-2/predictions", {"confidences", "churn", "coverage", "what_if"}),
        ("round-1/evaluation/evaluation.parquet", {"judges", "kept", "reliability"}),
    ],
)
def test_what_is_not_there_is_named_with_its_command(copied, gone, missing):
    path = copied / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    found, report = read(copied)
    parts = {**vars(found), **vars(found.rounds[-1])}
    for name in missing:
        assert isinstance(parts[name], Missing), name
        assert parts[name].command
        assert parts[name].reason.startswith("There is no round-")
    json.dumps(figures.to_json(found, report))


@pytest.mark.parametrize(
    "path",
    [
        "round-2/predictions/predictions-00001.parquet",
        "round-1/evaluation/evaluation.parquet",
        "round-1/calibration/calibration.parquet",
    ],
)
def test_what_is_broken_is_told_of_and_stops_nothing(copied, path):
    (copied / path).write_bytes(b"PAR1 and no more")
    found, _ = read(copied)
    reasons = [
        value.reason
        for one in found.rounds
        for value in vars(one).values()
        if isinstance(value, Missing)
    ]
    assert any("cannot read" in r or "broken" in r or "Parquet" in r for r in reasons)
    assert all("\n" not in reason for reason in reasons)


def test_a_stage_that_is_broken_is_named(copied):
    path = copied / "round-2" / "predictions" / "config.json"
    path.write_text("{")
    with pytest.raises(ValueError, match=r"predictions/config\.json"):
        read(copied)
