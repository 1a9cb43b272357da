import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stage.parquet import write_parquet_file
from tests.workflow.report import runs
from workflow.report import write_report
from workflow.report.analysis.missing import Missing


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    plan = runs.Plan(class_names=("a", "b"), images=200, tested=200)
    return runs.make(tmp_path_factory.mktemp("report") / "run", plan)


def test_page_and_json_are_side_by_side(run, tmp_path):
    def write():
        lines = write_report.report_on(run, tmp_path / "new" / "other run.json")
        assert lines[-1].strip() == str(tmp_path / "new" / "other run.html")
        return [path.read_bytes() for path in sorted((tmp_path / "new").iterdir())]

    html, content = write()
    assert b'href="other%20run.json"' in html
    assert json.loads(content)["headline"] in html.decode()
    # The same run has the same report.
    assert write() == [html, content]


def test_the_page_cannot_overwrite_the_json(run, tmp_path):
    with pytest.raises(ValueError, match=r"\.json.*report\.html"):
        write_report.report_on(run, tmp_path / "report.html")


def test_several_reports_are_compared(run, tmp_path):
    write_report.report_on(run)
    summary = tmp_path / "new" / "summary.json"
    lines = write_report.compare([run, run], summary)
    assert "better in 2 of 2" in lines[-1]
    assert len(json.loads(summary.read_text())["runs"]) == 2


def test_runs_of_other_settings_are_shown_side_by_side(run, tmp_path):
    write_report.report_on(run)
    other = shutil.copytree(run, tmp_path / "other")
    path = other / "round-1" / "selection" / "COMPLETED"
    completed = json.loads(path.read_text())
    command = [*completed["command"], "--confidence_threshold=0.9"]
    path.write_text(json.dumps({**completed, "command": command}))
    write_report.report_on(other)
    lines = write_report.compare([run, other], tmp_path / "summary.json")
    assert any("--confidence_threshold" in line for line in lines)
    assert any(line.strip() == f"{other}: 0.9" for line in lines)
    assert not any("mean " in line or "better in" in line for line in lines)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert [row["run"] for row in summary["runs"]] == [str(run), str(other)]
    assert summary["accuracy"] is None


def test_a_run_without_a_report_cannot_be_compared(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"report\.json"):
        write_report.compare([tmp_path], tmp_path / "summary.json")


def test_no_labeled_image_that_would_be_kept_is_no_error(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    path = copy / "round-1" / "teacher" / "evaluation" / "evaluation.parquet"
    table = pq.read_table(path)
    index = table.schema.get_field_index("confidence")
    unsure = pa.array(np.zeros(len(table), np.float32))
    write_parquet_file(path, table.set_column(index, "confidence", unsure))
    write_report.report_on(copy)
    first, second = runs.read_figures(copy)[0].rounds
    assert isinstance(first.class_precision, Missing)
    assert second.class_precision
