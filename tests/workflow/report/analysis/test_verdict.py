import dataclasses
import json
import shutil

import pytest

from beam_jobs.runners.cost import Pool, Resources
from beam_jobs.runners.dataflow.bill import add_job
from pseudo_label.selection.decision import Funnel
from workflow.report.analysis import verdict

NO_FUNNEL = {field.name: 0 for field in dataclasses.fields(Funnel)}


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
        funnel = NO_FUNNEL | {"read": 100, "unique_kept": 60, "copies": number}
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
    assert found["funnel"] == NO_FUNNEL | {
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
    assert "is above its first teacher (+10.00" in verdict.verdict_sentence(found)
    lines = "\n".join(verdict.format_lines(found))
    assert "student 10" in lines
    assert "90.00%" in lines


@pytest.mark.parametrize(
    ("student", "expected"),
    [
        (0.9, "above its first teacher (+10.00 points) and the control (+5.00 points)"),
        (0.83, "above its first teacher (+3.00 points), but not above the control (-2"),
        (0.8, "above neither its first teacher (+0.00 points) nor the control (-5.00"),
    ],
)
def test_the_verdict_names_each_side(student, expected):
    report = {"teacher_accuracy": 0.8, "control_accuracy": 0.85}
    found = verdict.verdict_sentence({**report, "student_accuracy": student})
    assert expected in found
    report = {"teacher_accuracy": 0.9767, "control_accuracy": 0.9183}
    found = verdict.verdict_sentence({**report, "student_accuracy": 0.9733})
    assert "the control (+5.50 points), but not above its first teacher (-0.34" in found


@pytest.mark.parametrize(
    ("stage", "command"),
    [
        ("control", "student.train --control"),
        ("round-1/teacher/evaluation", "teacher.evaluate"),
        ("round-3/selection", "beam_jobs.select_labels"),
        ("round-10/student", "student.train"),
    ],
)
def test_a_stage_that_has_not_ended_is_named_with_its_command(run, stage, command):
    (run / stage / "COMPLETED").unlink()
    with pytest.raises(FileNotFoundError, match=f"/{stage} .*{command} "):
        verdict.make_report(run)


@pytest.mark.parametrize("part", ["round-1", "control", "round-2/student"])
def test_a_part_of_a_run_names_the_run(run, part):
    with pytest.raises(FileNotFoundError, match=f"report on {run}$"):
        verdict.make_report(run / part)


def test_a_directory_of_runs_names_them(run):
    for name in ("a", "b"):
        (run.parent / "several" / name / "round-1").mkdir(parents=True)
    directory = run.parent / "several"
    with pytest.raises(FileNotFoundError, match=f"{directory}/a, {directory}/b"):
        verdict.make_report(directory)


@pytest.mark.parametrize(
    ("teacher", "control", "accuracies", "expected"),
    [
        (0.8, 0.8, (0.85, 0.9), "10.00 points above its first teacher"),
        (0.8, 0.8, (0.7, 0.75), "5.00 points below its first teacher"),
        (0.8, 0.8, (0.7, 0.8), "is as accurate as its first teacher"),
        (0.8, 0.9, (0.85, 0.9), "first teacher, but not above the control"),
        (0.8, 0.8, (0.9, 0.85), "but 5.00 below the one that taught it, student 1"),
    ],
)
def test_the_headline_states_the_result(teacher, control, accuracies, expected):
    pairs = zip((teacher, *accuracies), accuracies, strict=False)
    report = {
        "teacher_accuracy": teacher,
        "control_accuracy": control,
        "student_accuracy": accuracies[-1],
        "rounds": [
            {"round": number, "teacher_accuracy": a, "student_accuracy": b}
            for number, (a, b) in enumerate(pairs, start=1)
        ],
    }
    assert expected in verdict.headline(report)


def make_loss(number, below, differences, causes):
    return {
        "round": number,
        "below": below,
        "differences": differences,
        "may_be_chance": all(found["high"] >= 0 for found in differences),
        "causes": causes,
    }


def make_cause(name, state):
    return {
        "name": name,
        "state": state,
        "severity": 2.0,
        "finding": "The figure.",
        "remedy": "Do it.",
        "flags": ("--flag=1",),
        "command": "a.command",
    }


@pytest.mark.parametrize("may_be_chance", [True, False])
@pytest.mark.parametrize("below", [[], ["teacher"]])
def test_a_teacher_that_guesses_is_printed_in_any_case(run, below, may_be_chance):
    differences = [{"low": -0.02, "high": 0.01 if may_be_chance else -0.01}]
    loss = make_loss(
        1, below, differences[: len(below)], [make_cause("teacher", "likely")]
    )
    found = verdict.make_report(run)
    lines = set(verdict.format_lines({**found, "diagnoses": [loss]}))
    first, second = sorted(lines - set(verdict.format_lines(found)), reverse=True)
    assert first.endswith("The figure.")
    assert ("it may be chance" in first) == bool(below and may_be_chance)
    assert second.endswith("a.command --flag=1")


def test_a_loss_is_printed_with_its_likeliest_cause(run):
    found = verdict.make_report(run)
    causes = [make_cause("labels", "likely")]
    chance, loss = {"low": -0.0171, "high": 0.0103}, {"low": -0.02, "high": -0.01}
    losses = [
        make_loss(1, [], [], causes),
        make_loss(2, ["student 1", "control"], [chance, loss], causes),
        make_loss(3, ["student 2"], [loss], [make_cause("fit", "unlikely")]),
        make_loss(4, ["student 3"], [chance], causes),
    ]
    lines = list(verdict.format_lines({**found, "diagnoses": losses}))
    shown = [line for line in lines if "below its teacher" in line or "change:" in line]
    assert shown == [
        "  student 2 ends below its teacher and the control; likeliest cause: "
        "The figure.",
        "    to change: Do it: a.command --flag=1",
        "  student 3 ends below its teacher; no figure is beyond its bound",
        "  student 4 ends below its teacher; it may be chance (95% interval -1.7 to "
        "+1.0 points)",
    ]
    without = [line for line in lines if line not in shown]
    assert without == list(verdict.format_lines(found))


def test_a_calibration_alone_is_no_round(run):
    write(run / "round-11" / "calibration" / "calibration.json", {})
    assert len(verdict.make_report(run)["rounds"]) == 10
    write(run / "round-11" / "predictions" / "summary.json", {})
    with pytest.raises(FileNotFoundError, match="round-11/selection "):
        verdict.make_report(run)


def test_a_run_without_a_round_is_named(run):
    for stage in ("predictions", "selection", "dataset", "student"):
        for path in run.glob(f"round-*/{stage}"):
            shutil.rmtree(path)
    with pytest.raises(FileNotFoundError, match="round-1/predictions"):
        verdict.make_report(run)


def test_what_the_first_teacher_learned_from_is_named(run):
    member = run / "round-1" / "teacher" / "member-1"
    for more, expected in (
        ({}, "labels alone"),
        ({"unlabeled": {"n": 9}}, "unlabeled images"),
        ({"features": {"size": 9}}, "pretrained features"),
    ):
        write(member / "config.json", {"config": {"seed": 1}, **more})
        lines = list(verdict.format_lines(verdict.make_report(run)))
        (teacher,) = [line for line in lines if line.startswith("    teacher ")]
        assert expected in teacher


def test_what_dataflow_has_billed_is_printed_and_kept(run):
    assert verdict.make_report(run)["bills"] == {}
    directory = run / "round-1" / "selection"
    (directory / "COMPLETED").write_text("{}")
    used = Resources(vcpu_hours=100.0, memory_gb_hours=0.0, disk_gb_hours=0.0)
    pool = Pool(machine="n2-standard-4", workers=1, disk_gb=50)
    add_job(directory, "job-1", state="DONE", resources=used, pool=pool)
    report = verdict.make_report(run)
    assert report["bills"].keys() == {"round-1/selection"}
    (line,) = (line for line in verdict.format_lines(report) if "Dataflow" in line)
    assert "Dataflow has billed round-1/selection: 5.60 USD" in line


def test_the_outlook_of_each_round_is_printed(run):
    agreement = {"compared": 1000, "same": 607}
    write(run / "round-2" / "predictions" / "summary.json", {"agreement": agreement})
    path = run / "round-2" / "selection" / "selection.json"
    content = json.loads(path.read_text())
    content["classes"] = [{"name": name} for name in "abc"]
    path.write_text(json.dumps(content))
    lines = list(verdict.format_lines(verdict.make_report(run)))
    (first,) = [line for line in lines if "before student 1:" in line]
    assert "cannot be said" in first
    (second,) = [line for line in lines if "before student 2:" in line]
    assert "unlikely to end above the control" in second
    assert "41.0%" in second
