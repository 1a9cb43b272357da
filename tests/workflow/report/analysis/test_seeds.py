import dataclasses

import numpy as np
import pytest
import scipy.stats

from workflow.report.analysis import seeds
from workflow.report.analysis.run_differences import StageFacts


def make_report(seed, control, teacher, labeling_teacher, student):
    accuracies = ((teacher, labeling_teacher), (labeling_teacher, student))
    return seeds.Report(
        seed=seed,
        control_accuracy=control,
        teacher_accuracy=teacher,
        student_accuracy=student,
        rounds=tuple(
            seeds.RoundAccuracies(teacher_accuracy=first, student_accuracy=second)
            for first, second in accuracies
        ),
        seconds={"teacher": 1.0, "student": 2.0},
    )


TWO = [
    ("a", make_report(1, 0.7, 0.8, 0.9, 0.88)),
    ("b", make_report(2, 0.9, 0.8, 0.85, 0.86)),
]


def test_seeds_are_compared_pair_by_pair():
    summary = seeds.summarize(TWO)
    gains = summary["gain_over"]
    assert gains["teacher"]["mean"] == pytest.approx(0.07)
    assert gains["teacher"]["sd"] == pytest.approx(0.02 / 2**0.5)
    assert [gains[name]["wins"] for name in gains] == [2, 1, 1]
    assert summary["accuracy"]["control"]["mean"] == pytest.approx(0.8)
    assert summary["runs"][0]["seconds"] == 3.0
    text = "\n".join(seeds.format_lines(summary))
    assert "student over labeling teacher: -0.50 points (95 % interval -19.56" in text
    assert "better in 1 of 2" in text
    assert "  mean            80.00%" in text


def test_one_run_has_no_interval():
    summary = seeds.summarize(TWO[:1])
    assert summary["gain_over"]["teacher"]["low"] is None
    assert "interval" not in "\n".join(seeds.format_lines(summary))


def with_threshold(report, threshold):
    stage = StageFacts(
        name="round-1/selection",
        command=("-m", "select", f"--confidence_threshold={threshold}"),
    )
    return dataclasses.replace(report, stages=(stage,))


def test_runs_of_other_settings_have_no_mean():
    (_, first), (_, second) = TWO
    runs = [("a", with_threshold(first, 0.5)), ("longer", with_threshold(second, 0.9))]
    summary = seeds.summarize(runs)
    assert summary["accuracy"] is summary["gain_over"] is None
    assert len(summary["differences"]) == 1
    head, *rows = seeds.format_lines(summary)
    assert head.split()[0] == "run"
    assert [row.split()[0] for row in rows[:2]] == ["a", "longer"]
    text = "\n".join(rows)
    assert "longer: 0.9" in text
    assert "seeds differ as well" in text
    assert not any(word in text for word in ("mean ", "sd", "interval", "better in"))
    same_seed = [("a", runs[0][1]), ("b", dataclasses.replace(runs[1][1], seed=1))]
    lines = "\n".join(seeds.format_lines(seeds.summarize(same_seed)))
    assert "seeds differ" not in lines
    same = [("a", runs[0][1]), ("b", with_threshold(second, 0.5))]
    assert seeds.summarize(same)["accuracy"] == seeds.summarize(TWO)["accuracy"]


@pytest.mark.parametrize("count", [2, 3, 5, 20, 31])
def test_the_interval_is_that_of_a_paired_t_test(count):
    rng = np.random.default_rng(count)
    before, after = rng.random((2, count))
    expected = scipy.stats.ttest_rel(after, before).confidence_interval(0.95)
    found = seeds.interval([*map(float, after - before)])
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_very_many_runs_have_nearly_a_normal_interval():
    differences = np.random.default_rng(0).random(400)
    expected = scipy.stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    found = seeds.interval([*map(float, differences)])
    np.testing.assert_allclose(found, expected, rtol=1e-9)
