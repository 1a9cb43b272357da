import json

import pytest

from tests.commands import call
from tests.workflow.report import runs
from workflow.report import write_report


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    plan = runs.Plan(class_names=("a", "b"), images=200, tested=200)
    return runs.make(tmp_path_factory.mktemp("report") / "run", plan)


def report(*arguments):
    process = call("workflow.report", *arguments)
    assert process.returncode == 0, process.stderr
    return process.stdout.rstrip().splitlines()


def test_a_run_is_reported_on_in_both_forms(run):
    *lines, last = report(f"--run={run}")
    content = json.loads((run / write_report.REPORT).read_text())
    html = (run / "report.html").read_text("utf-8")
    assert content["headline"] in html
    assert last == f"  {run / 'report.html'}"
    assert "seed 1;" in lines[-1]


def test_several_runs_are_compared(run, tmp_path):
    report(f"--run={run}")
    output = tmp_path / "summary.json"
    *_, last = report(f"--run={run}", f"--run={run}", f"--output={output}")
    assert "better in 2 of 2" in last
    assert len(json.loads(output.read_text())["runs"]) == 2


def test_several_runs_are_compared_without_a_file(run):
    *_, last = report(f"--run={run}", f"--run={run}")
    assert "better in 2 of 2" in last


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--run={run}/none",), "{run}/none/round-1/teacher/evaluation"),
        (("--run={run}", "more"), "more"),
        ((), "--run"),
    ],
)
def test_bad_input_is_named_without_a_traceback(run, flags, named):
    process = call("workflow.report", *(flag.format(run=run) for flag in flags))
    assert process.returncode == 1
    assert named.format(run=run) in process.stderr
    assert "Traceback" not in process.stderr
