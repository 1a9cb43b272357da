import json

from classifier.export.facts import Evaluation
from classifier.training import export_run
from tests.commands import call

EVALUATION = {"num_examples": 600, "num_correct": 540, "cross_entropy": 0.4}


def test_the_flags_name_the_run_and_its_metrics(monkeypatch):
    exported = []
    monkeypatch.setattr(
        export_run, "export_checkpoint", lambda *arguments: exported.append(arguments)
    )
    process = call(
        "classifier.export_checkpoint",
        *("--workdir=runs/teacher", f"--evaluation={json.dumps(EVALUATION)}"),
    )
    assert process.returncode == 0, process.stderr
    assert exported == [("runs/teacher", Evaluation(**EVALUATION))]


def test_what_is_no_json_is_an_error_of_the_user():
    process = call(
        "classifier.export_checkpoint", "--workdir=runs/teacher", "--evaluation=good"
    )
    assert process.returncode == 1
    assert len(process.stderr.splitlines()) == 1
