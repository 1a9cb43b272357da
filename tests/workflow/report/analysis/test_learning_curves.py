import json

import numpy as np
import pytest

from workflow.report.analysis import learning_curves
from workflow.report.analysis.run_files import Run


def test_curves_are_averaged_and_noise_is_measured_at_the_end(tmp_path):
    directory = tmp_path / "control"
    directory.mkdir()
    rows = [
        {"step": i, "train/top1": float(i > 600), "train/loss": float(i)}
        for i in range(1, 1001)
    ]
    lines = [json.dumps(row) for row in rows]
    (directory / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 10']))
    loss, series = learning_curves.read_learning(Run(tmp_path), 0)
    assert len(loss.points) == 60
    # One batch says little.
    assert len(series.points) == 12
    assert np.mean([y for _, y in series.points]) == pytest.approx(0.4, abs=0.02)
    assert learning_curves.agreement_under_noise([series], "control") == 1.0
    assert learning_curves.agreement_under_noise([series], "student 1") is None


def test_a_curve_of_few_points_stays_as_it_is(tmp_path):
    (tmp_path / "round-1" / "student").mkdir(parents=True)
    rows = [{"step": step, "evaluation/top1": step / 10} for step in (1, 4, 9)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "round-1" / "student" / "metrics.jsonl").write_text(text)
    (curve,) = learning_curves.read_learning(Run(tmp_path), 1)
    assert (curve.run, curve.metric) == ("student 1", learning_curves.EVALUATION)
    assert curve.points == ((1.0, 0.1), (4.0, 0.4), (9.0, 0.9))


def test_pseudo_labeled_images_count_before_all_images():
    pseudo_labeled, _, both = (
        learning_curves.Series(run="student 1", metric=metric, points=points)
        for metric, points in zip(
            learning_curves.UNDER_NOISE,
            [((50.0, 0.0), (80.0, 0.4), (100.0, 0.6)), (), ((100.0, 0.9),)],
            strict=True,
        )
    )
    under_noise = learning_curves.agreement_under_noise
    assert under_noise([both, pseudo_labeled], "student 1") == 0.5
    assert under_noise([both], "student 1") == 0.9
