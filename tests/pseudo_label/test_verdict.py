import json

import pytest

from pseudo_label import seeds, verdict


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    completed = {"seconds": 2.5, "command": [], "versions": {"python": "3.11"}}
    (path.parent / "COMPLETED").write_text(json.dumps(completed))


def write_classifier(directory, top1):
    write(directory / "config.json", {"config": {"seed": 7}})
    evaluation = {"top1": top1, "num_examples": 600, "num_correct": 1}
    write(
        directory / "classifier.json", {"evaluation": evaluation, "num_parameters": 9}
    )


@pytest.fixture
def run(tmp_path):
    """Ten rounds, so that sorting by name would get them wrong."""
    evaluation = {"top1": 0.8, "num_examples": 600}
    write(
        tmp_path / "round-1" / "teacher" / "evaluation" / "evaluation.json", evaluation
    )
    write_classifier(tmp_path / "control", 0.82)
    for number in range(1, 11):
        directory = tmp_path / f"round-{number}"
        funnel = {"read": 100, "unique_kept": 60, "copies": number}
        write(directory / "selection" / "selection.json", {"funnel": funnel})
        splits = [{"shardLengths": ["40", str(20 + number)]}]
        write(directory / "dataset" / "dataset_info.json", {"splits": splits})
        write(directory / "predictions" / "summary.json", {})
        write_classifier(directory / "student", 0.8 + number / 100)
    return tmp_path


def test_report_gathers_the_figures_of_a_run(run):
    found = verdict.make_report(run)
    assert found["teacher_accuracy"] == 0.8
    assert found["control_accuracy"] == 0.82
    assert found["student_accuracy"] == pytest.approx(0.9)
    assert [r["round"] for r in found["rounds"]] == list(range(1, 11))
    assert found["rounds"][0]["teacher_accuracy"] == 0.8
    assert found["rounds"][9]["teacher_accuracy"] == pytest.approx(0.89)
    assert found["funnel"] == {
        "read": 100,
        "unique_kept": 60,
        "copies": 10,
        "written": 70,
    }
    assert found["seconds"]["round-10/student"] == 2.5
    assert found["seed"] == 7
    assert found["versions"] == {"python": "3.11"}


def test_the_verdict_says_who_won(run):
    found = verdict.make_report(run)
    assert "beats its first teacher (+10.00 points)" in verdict.verdict(found)
    worse = {**found, "student_accuracy": 0.81}
    assert "does not beat both" in verdict.verdict(worse)
    lines = "\n".join(verdict.tell(found))
    assert "student 10" in lines
    assert "90.00%" in lines


def test_a_stage_that_has_not_ended_is_named(run):
    (run / "control" / "COMPLETED").unlink()
    with pytest.raises(FileNotFoundError, match="control is not complete"):
        verdict.make_report(run)


def make_seed(seed, control, teacher, middle, student):
    return {
        "seed": seed,
        "control_accuracy": control,
        "teacher_accuracy": teacher,
        "student_accuracy": student,
        "rounds": [
            {"teacher_accuracy": teacher, "student_accuracy": middle},
            {"teacher_accuracy": middle, "student_accuracy": student},
        ],
        "seconds": {"a": 1.0, "b": 2.0},
    }


def test_seeds_are_compared_pair_by_pair():
    summary = seeds.summarize(
        [make_seed(1, 0.7, 0.8, 0.9, 0.88), make_seed(2, 0.9, 0.8, 0.85, 0.86)]
    )
    gains = summary["gain_over"]
    assert gains["teacher"]["mean"] == pytest.approx(0.07)
    assert gains["teacher"]["sd"] == pytest.approx(0.02 / 2**0.5)
    assert [gains[name]["wins"] for name in gains] == [2, 1, 1]
    assert summary["accuracy"]["control"]["mean"] == pytest.approx(0.8)
    assert summary["runs"][0]["seconds"] == 3.0
    text = "\n".join(seeds.tell(summary))
    assert "student over labeling teacher: -0.50 points" in text
    assert "better in 1 of 2" in text
