import dataclasses
import json
import shutil

import pytest

from workflow.report.analysis import compute, verdict
from workflow.report.analysis.run_files import Run

BLENDED = {
    "control/classifier.json": 1009.0,
    "round-1/teacher/member-1/classifier.json": 3.0,
    "round-1/teacher/member-2/classifier.json": 5.0,
    "round-1/teacher_predictions/summary.json": 7.0,
    "round-1/labeled_predictions/summary.json": 11.0,
    "round-1/excluded/set-1/summary.json": 13.0,
    "round-1/excluded/set-2/summary.json": 17.0,
    "round-1/student/classifier.json": 19.0,
    "round-2/teacher_predictions/summary.json": 23.0,
    "round-2/labeled_predictions/summary.json": 29.0,
    "round-2/student/classifier.json": 31.0,
}
#: Without blending, `predictions` are those of the teacher.
ALONE = {
    name.replace("teacher_predictions", "predictions"): count
    for name, count in BLENDED.items()
    if "labeled_predictions" not in name
}
CASES = {"blended": BLENDED, "alone": ALONE}
EACH = [(kind, name) for kind, counts in CASES.items() for name in counts]


@pytest.fixture
def make(tmp_path):
    """Returns a function that writes a run of two teachers and two rounds."""

    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))

    def make(kind):
        for number, (teachers, excluded) in enumerate([("ab", "xy"), ("c", "")], 1):
            labeling = {"teachers": list(teachers)}
            if kind == "blended":
                labeling["propagation"] = {"neighbors": 10}
                write(f"round-{number}/predictions/summary.json", {"images": 9})
            write(f"round-{number}/predictions/config.json", labeling)
            sets = {"excluded": dict.fromkeys(excluded, "f" * 64)}
            write(f"round-{number}/selection/config.json", sets)
        for name, count in CASES[kind].items():
            write(name, {"multiply_adds": count})
        return tmp_path

    return make


@pytest.mark.parametrize(("kind", "chain"), [("blended", 158.0), ("alone", 118.0)])
def test_all_stages_count(make, kind, chain):
    found = compute.read_compute(Run(make(kind)))
    assert found == compute.RunCompute(chain=chain, control=1009.0)


@pytest.mark.parametrize(("kind", "name"), EACH)
def test_stages_of_earlier_versions_are_not_known(make, kind, name):
    run = make(kind)
    (run / name).write_text("{}")
    assert compute.read_compute(Run(run)) is None


@pytest.mark.parametrize(("kind", "name"), EACH)
def test_stages_that_are_gone_are_not_known(make, kind, name):
    run = make(kind)
    shutil.rmtree((run / name).parent)
    assert compute.read_compute(Run(run)) is None


def test_features_that_were_not_counted_are_left_out(make):
    def write(path, **content):
        path.write_text(json.dumps(content))

    run = make("alone")
    write(run / "round-1/teacher/member-1/classifier.json", features="f" * 64)
    for name in ("predictions", "excluded/set-1", "excluded/set-2"):
        write(run / "round-1" / name / "summary.json", images=9)
    found = compute.read_compute(Run(run))
    rest = 118.0 - (3.0 + 7.0 + 13.0 + 17.0)
    expected = compute.RunCompute(chain=rest, control=1009.0, uncounted=True)
    assert found == expected
    line = verdict.describe_compute(dataclasses.asdict(found), rounds=2)
    assert "without the features" in line
    write(run / "round-2/student/classifier.json")
    assert compute.read_compute(Run(run)) is None


def test_the_remedy_for_a_control_of_fewer_rounds_is_named():
    enough = verdict.describe_compute({"control": 101.0, "chain": 98.0}, rounds=2)
    few = verdict.describe_compute({"control": 60.0, "chain": 98.0}, rounds=2)
    assert "noisy-student run RUN --set=rounds.count=2" in few
    assert "make" not in enough
