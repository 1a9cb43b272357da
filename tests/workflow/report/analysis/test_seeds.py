import numpy as np
import pytest
import scipy.stats

from workflow.report.analysis import seeds


def make_report(seed, control, teacher, labeling_teacher, student):
    return {
        "seed": seed,
        "control_accuracy": control,
        "teacher_accuracy": teacher,
        "student_accuracy": student,
        "rounds": [
            {"teacher_accuracy": teacher, "student_accuracy": labeling_teacher},
            {"teacher_accuracy": labeling_teacher, "student_accuracy": student},
        ],
        "seconds": {"teacher": 1.0, "student": 2.0},
    }


TWO = [make_report(1, 0.7, 0.8, 0.9, 0.88), make_report(2, 0.9, 0.8, 0.85, 0.86)]


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
