import json
import shutil

import pytest

from pseudo_label.selection import what_if
from tests.workflow.report import runs
from workflow.report.analysis import figures
from workflow.report.analysis.missing import Missing
from workflow.report.analysis.round_figures import MAX_ROWS
from workflow.report.analysis.run_files import Run


def test_precision_is_estimated_above_the_cut_offs(complete_run, found):
    run = Run(complete_run)
    labeled, judges = run.labeled_round(2), run.reference_predictions(2)
    kept = [
        label == predicted
        for label, predicted, confidence in zip(
            judges.label, judges.predicted, judges.confidence, strict=True
        )
        if confidence >= labeled.selection.classes[predicted].cut_off.confidence
    ]
    assert found.rounds[1].kept.images == len(kept)
    assert found.rounds[1].kept.right == sum(kept)


def test_the_estimate_of_the_selection_takes_precedence(copied):
    path = copied / "round-2" / "selection" / "selection.json"
    content = json.loads(path.read_text())
    kept = {"estimate": 0.5, "low": 0.4, "high": 0.6, "images": 10, "right": 5}
    content["estimate"] = {"kind": "held_out", "above_threshold": kept, "kept": kept}
    path.write_text(json.dumps(content))
    found, _ = runs.read_figures(copied)
    assert found.rounds[1].kept.estimate == 0.5


def test_classes_are_counted_before_and_after(complete_run, found):
    labeled = Run(complete_run).labeled_round(1)
    classes = found.rounds[0].classes
    assert [c.name for c in classes.fewest] == list(runs.NAMES)
    assert [c.unique for c in classes.fewest] == [
        rule.unique for rule in labeled.selection.classes
    ]
    assert sum(c.predicted for c in classes.fewest) == sum(
        found.rounds[0].confidences.bars
    )
    assert classes.ranks.unique == tuple(
        sorted((c.unique for c in classes.fewest), reverse=True)
    )


def test_figures_of_many_classes_stay_small(tmp_path):
    names = tuple(f"class {index}" for index in range(400))
    plan = runs.Plan(class_names=names, accuracies=(0.8, 0.9), tested=1000)
    found, report = runs.read_figures(runs.make(tmp_path / "run", plan))
    (only,) = found.rounds
    assert only.classes.count == 400
    assert len(only.classes.fewest) == len(only.class_precision) == MAX_ROWS
    assert only.classes.ranks.places[::99] == (1, 400)
    assert len(only.classes.ranks.records) == 100
    assert only.judged_classes > 100
    highs = [c.precision.high for c in only.class_precision]
    assert highs == sorted(highs)
    assert len(json.dumps(figures.to_json(found, report))) < 100_000


def test_a_stored_table_takes_precedence(copied):
    cell = what_if.WhatIfCell(
        confidence_threshold=0.7,
        images_per_class=200,
        records=5,
        unique=4,
        copies=1,
        empty_classes=0,
        precision=None,
    )
    what_if.write_table(copied / "round-1" / "selection", [cell])
    found, _ = runs.read_figures(copied)
    assert found.rounds[0].what_if.cells == (cell,)
    assert len(found.rounds[1].what_if.cells) > 1
    assert found.rounds[1].what_if.threshold == 0.7


@pytest.mark.parametrize(
    ("gone", "missing"),
    [
        ("round-1/teacher/evaluation/evaluation.parquet", {"confusions"}),
        ("round-2/predictions", {"confidences", "churn", "coverage", "what_if"}),
        ("round-1/evaluation/evaluation.parquet", {"judges", "kept", "reliability"}),
    ],
)
def test_missing_files_are_named_with_their_command(copied, gone, missing):
    path = copied / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    found, report = runs.read_figures(copied)
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
def test_broken_files_are_named_and_stop_nothing(copied, path):
    (copied / path).write_bytes(b"PAR1 and no more")
    found, _ = runs.read_figures(copied)
    reasons = [
        value.reason
        for figures_of_round in found.rounds
        for value in vars(figures_of_round).values()
        if isinstance(value, Missing)
    ]
    assert any("cannot read" in r or "broken" in r or "Parquet" in r for r in reasons)
    assert all("\n" not in reason for reason in reasons)
