import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workflow.report.analysis import run_files
from workflow.report.analysis.missing import MissingError
from workflow.report.analysis.run_files import Run


def test_undecodable_images_count_as_wrong_and_are_left_out(tmp_path):
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


def test_a_calibration_takes_precedence_over_test_images(found):
    first, second = found.rounds
    assert (first.judges.kind, first.judges.images) == ("held_out", 500)
    assert (second.judges.kind, second.judges.images) == ("test", 600)


def test_the_calibration_of_a_probe_lies_in_its_directory(copied):
    held_out = Run(copied).reference_predictions(1)
    directory = copied / "round-1"
    (directory / "calibration").rename(directory / "teacher/member-1/calibration")
    own = Run(copied).reference_predictions(1)
    assert own.kind == held_out.kind == "held_out"
    assert own.confidence.tolist() == held_out.confidence.tolist()
    assert Run(copied).reference_predictions(2).kind == "test"


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


def test_rounds_come_in_the_order_of_their_numbers(tmp_path):
    for number in range(1, 11):
        (tmp_path / f"round-{number}" / "predictions").mkdir(parents=True)
    (tmp_path / "round-11" / "calibration").mkdir(parents=True)
    (tmp_path / "round-old" / "predictions").mkdir(parents=True)
    names = [path.name for path in Run(tmp_path).rounds()]
    assert names == [f"round-{number}" for number in range(1, 11)]
    (tmp_path / "round-2" / "predictions").rmdir()
    with pytest.raises(ValueError, match=r"\b10\b.*round-2\b"):
        Run(tmp_path).rounds()


def test_members_come_in_the_order_of_their_numbers(tmp_path):
    for number in (1, 2, 10):
        (tmp_path / "round-1" / "teacher" / f"member-{number}").mkdir(parents=True)
    names = [path.name for path in Run(tmp_path).members()]
    assert names == ["member-1", "member-2", "member-10"]


def test_members_are_those_that_the_predictions_were_made_of(tmp_path):
    for number in (1, 2, 3):
        (tmp_path / "round-1" / "teacher" / f"member-{number}").mkdir(parents=True)
    (tmp_path / "round-1" / "predictions").mkdir()
    config = tmp_path / "round-1" / "predictions" / "config.json"
    config.write_text(json.dumps({"teachers": ["0123abc", "4567def"]}))
    names = [path.name for path in Run(tmp_path).members()]
    assert names == ["member-1", "member-2"]


def test_a_line_cut_off_by_a_kill_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "a": 2.0, "b": 3.0}\n{"step": 2, "a": 4.0}\n{"st')
    found = run_files.read_metrics(tmp_path)
    assert found == {"a": [(1, 2.0), (2, 4.0)], "b": [(1, 3.0)]}
    assert run_files.read_metrics(tmp_path / "none") == {}


@pytest.mark.parametrize(
    ("find", "goal"),
    [
        (
            lambda run: run.labeled_round(3),
            " --until=labels --round=3",
        ),
        (lambda run: run.reference_predictions(1), ""),
        (
            lambda run: run.reference_predictions(3),
            " --until=evaluation --round=2",
        ),
        (
            lambda run: run.evaluated(run.path / "control" / "evaluation"),
            "",
        ),
    ],
)
def test_the_command_that_makes_a_file_is_named(tmp_path, find, goal):
    with pytest.raises(MissingError) as caught:
        find(Run(tmp_path))
    assert caught.value.missing.command == f"noisy-student run RUN{goal}"


def test_a_teacher_that_decoded_nothing_is_missing(tmp_path):
    directory = tmp_path / "round-1" / "evaluation"
    directory.mkdir(parents=True)
    nothing = {
        "key": ["a"],
        "label": pa.array([0], pa.int32()),
        "predicted": pa.array([None], pa.int32()),
        "confidence": pa.array([None], pa.float32()),
    }
    pq.write_table(pa.table(nothing), directory / "evaluation.parquet")
    with pytest.raises(MissingError):
        Run(tmp_path).reference_predictions(2)


def test_only_sha256_are_fingerprints(tmp_path):
    digest = "0123456789abcdef" * 4
    content = {"a": {"b": [digest, "x" + digest, 5]}, "c": digest, "d": digest.upper()}
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "config.json").write_text(json.dumps(content))
    (tmp_path / "data" / "COMPLETED").write_text('{"seconds": 1.5}')
    (stage,) = run_files.read_stages(Run(tmp_path))
    assert stage.fingerprints == {"a.b.1": digest, "c": digest}
    assert stage.bill is None
    assert (stage.name, stage.seconds, stage.seed) == ("data", 1.5, None)
