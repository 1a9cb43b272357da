import json

import pytest

from workflow.report.analysis import compute, verdict
from workflow.report.analysis.run_files import Run

COUNTS = {
    "round-1/teacher/member-1/classifier.json": 3.0,
    "round-1/teacher/member-2/classifier.json": 5.0,
    "round-1/predictions/summary.json": 7.0,
    "round-1/excluded/set-1/summary.json": 11.0,
    "round-1/excluded/set-2/summary.json": 13.0,
    "round-1/student/classifier.json": 17.0,
    "round-2/predictions/summary.json": 19.0,
    "round-2/student/classifier.json": 23.0,
    "control/classifier.json": 101.0,
}


@pytest.fixture
def run(tmp_path):
    for name, count in COUNTS.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"multiply_adds": count}))
    return tmp_path


def test_all_stages_count(run):
    found = compute.read_compute(Run(run))
    assert found == compute.RunCompute(chain=98.0, control=101.0)


@pytest.mark.parametrize("name", COUNTS)
def test_stages_of_earlier_versions_are_not_known(run, name):
    (run / name).write_text("{}")
    assert compute.read_compute(Run(run)) is None


def test_the_remedy_for_a_control_of_fewer_rounds_is_named():
    enough = verdict.describe_compute({"control": 101.0, "chain": 98.0}, rounds=2)
    few = verdict.describe_compute({"control": 60.0, "chain": 98.0}, rounds=2)
    assert "make report ROUNDS=2" in few
    assert "make" not in enough
