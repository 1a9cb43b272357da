import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from pseudo_label.selection.precision import LabeledPredictions, Precision
from tests.workflow.report.rendering.pages import macro
from workflow.report.analysis import metrics
from workflow.report.analysis.learning_curves import (
    EVALUATION,
    LOSS,
    UNDER_NOISE,
    Series,
)
from workflow.report.analysis.round_figures import Confidences, Ranks
from workflow.report.rendering import charts


def parse(chart):
    """The chart's tree; its marks are within its frame."""
    tree = ET.fromstring(macro("graphics.html", "chart")(chart, "chart"))
    assert tree.get("role") == "img"
    named = [tree.find("title"), tree.find("desc")]
    assert tree.get("aria-labelledby").split() == [part.get("id") for part in named]
    assert all(part.text for part in named)
    width, height = map(float, tree.get("viewBox").split()[2:])
    for x, y in places(tree):
        assert -1 <= x <= width + 1
        assert -1 <= y <= height + 1
    return tree


def places(tree):
    for path in tree.iter("path"):
        numbers = [float(n) for n in re.findall(r"-?[\d.]+", path.get("d"))]
        yield from zip(numbers[::2], numbers[1::2], strict=True)
    for circle in tree.iter("circle"):
        yield float(circle.get("cx")), float(circle.get("cy"))
    for text in tree.iter("text"):
        yield float(text.get("x")), float(text.get("y"))


def of_class(tree, name):
    return [mark for mark in tree.iter() if name in mark.get("class", "").split()]


def texts(tree):
    return [label.text for label in tree.iter("text")]


def calibration(count=400):
    rng = np.random.default_rng(0)
    confidence = rng.random(count).astype(np.float32)
    right = rng.random(count) < confidence
    return LabeledPredictions(
        kind="test",
        label=np.where(right, 0, 1).astype(np.int32),
        predicted=np.zeros(count, np.int32),
        confidence=confidence,
    )


def test_dots_are_where_the_bins_are():
    found = metrics.reliability(calibration())
    tree = parse(charts.reliability(found))
    dots = of_class(tree, "dot")
    assert len(dots) == len(found.bins)
    # The reference line goes from 0 to 1 on both axes.
    (reference,) = of_class(tree, "reference")
    left, bottom, right, top = map(float, re.findall(r"[\d.]+", reference.get("d")))
    for dot, bin_ in zip(dots, found.bins, strict=True):
        x = (float(dot.get("cx")) - left) / (right - left)
        y = (float(dot.get("cy")) - bottom) / (top - bottom)
        assert x == pytest.approx(bin_.confidence, abs=0.001)
        assert y == pytest.approx(bin_.precision.estimate, abs=0.001)


def test_few_images_have_a_hollow_dot():
    tree = parse(charts.reliability(metrics.reliability(calibration(30))))
    assert of_class(tree, "few")
    tree = parse(charts.reliability(metrics.reliability(calibration(4000))))
    assert not of_class(tree, "few")


@pytest.mark.parametrize("is_logarithmic", [False, True])
def test_bars_are_as_high_as_there_are_images(is_logarithmic):
    bars = (0, 1, 10, 100, 1000) + (0,) * 45
    found = Confidences(bars=bars, lowest=0.06, highest=0.5)
    tree = parse(charts.confidences(found, is_logarithmic=is_logarithmic))
    boxes = of_class(tree, "bar")
    heights = [float(box.get("height")) for box in boxes]
    assert heights[:5] == sorted(heights[:5])
    assert heights[0] == heights[-1] == 0
    if is_logarithmic:
        assert heights[2] > 0.2 * heights[4]
    else:
        assert heights[3] == pytest.approx(0.1 * heights[4], abs=0.1)
    # What is not kept differs by its pattern.
    hatched = ["hatched" in box.get("class") for box in boxes]
    assert hatched == [True] * 3 + [False] * 47
    assert len(of_class(tree, "reference")) == 2


def test_lines_have_names_and_dashes_of_their_own():
    ranks = Ranks(
        places=(1, 2, 3),
        predicted=(900, 20, 3),
        unique=(50, 20, 0),
        records=(50, 50, 0),
    )
    tree = parse(charts.ranks(ranks))
    assert {"before", "kept", "records"} <= set(texts(tree))
    looks = [line.get("class") for line in of_class(tree, "line")]
    assert len(looks) == len(set(looks)) == 3
    assert {"0", "1", "10", "100"} <= set(texts(tree))


def test_the_curve_ends_where_all_is_kept():
    some = calibration()
    levels = metrics.coverage_levels(some)
    points = metrics.coverage_curve(
        some, levels, [float((some.confidence >= level).mean()) for level in levels]
    )
    kept = Precision.of(some.is_right[some.confidence >= 0.7])
    low = charts.lowest_precision(points, [kept])
    assert low == 0.5
    tree = parse(charts.coverage(points, (0.3, kept), low=low))
    (curve,) = of_class(tree, "line")
    xs = [float(x) for x in re.findall(r"[ML]([\d.]+) ", curve.get("d"))]
    assert xs[0] == 385
    assert xs == sorted(xs, reverse=True)
    assert "selected" in texts(tree)
    assert "selected" not in texts(parse(charts.coverage(points, None, low=0)))


def test_without_a_labeled_image_there_is_no_curve():
    nothing = Precision.of(np.empty(0, bool))
    point = metrics.CoveragePoint(threshold=0.5, coverage=0.4, precision=nothing)
    low = charts.lowest_precision([point], [])
    assert low == 0.9
    tree = parse(charts.coverage([point], (0.4, nothing), low=low))
    assert not of_class(tree, "dot")
    assert "selected" not in texts(tree)


def test_names_of_thresholds_that_keep_next_to_nothing_do_not_overlap():
    precision = Precision.of(np.ones(9, bool))
    shares = {0.0: 1.0, 0.5: 0.9, 0.7: 0.5, 0.9: 0.14, 0.95: 0.06, 0.99: 0.01}
    points = [
        metrics.CoveragePoint(threshold=level, coverage=share, precision=precision)
        for level, share in shares.items()
    ]
    tree = parse(charts.coverage(points, None, low=0))
    names = [mark for mark in tree.iter() if (mark.text or "").startswith("\u2265")]
    ends = sorted(float(mark.get("x")) for mark in names)
    assert len(ends) >= 3
    assert min(np.diff(ends)) >= 40


def test_a_name_stands_at_the_end_of_its_line():
    series = [
        Series(run=run, metric="m", points=((100.0, 0.5), (200.0, last)))
        for run, last in (("a", 0.9), ("b", 0.89), ("b", 0.7), ("c", 0.2))
    ]
    tree = parse(charts.learning(series, title="t", y_name="right"))
    labels = {label.text: float(label.get("y")) for label in of_class(tree, "label")}
    assert list(labels) == ["a", "b", "c"]
    heights = list(labels.values())
    assert np.all(np.diff(heights) >= 14)
    assert len(of_class(tree, "line")) == 4


def test_losses_begin_at_zero():
    series = [Series(run="a", metric="m", points=((1.0, 2.5), (9.0, 1.5)))]
    tree = parse(charts.learning(series, title="t", y_name="loss"))
    assert {"0", "1", "2"} <= set(texts(tree))
    assert not any("%" in text for text in texts(tree))


def test_students_teachers_and_control_have_a_curve_each():
    runs = ("control", "teacher 1", "teacher 2", "student 1", "student 2", "student 3")
    series = [
        Series(run=run, metric=metric, points=((1.0, 0.5),))
        for run in runs
        for metric in (EVALUATION, LOSS)
    ]
    for metric, curves in zip(
        (EVALUATION, LOSS), charts.accuracy_and_loss(series, 3), strict=True
    ):
        assert [curve.run for curve in curves] == [
            *("student 3", "student 2", "teachers", "teachers", "control")
        ]
        assert {curve.metric for curve in curves} == {metric}


def test_noise_curves_are_separate_if_both_are_known():
    pseudo_labeled, labeled, both = (
        Series(run="student 1", metric=metric, points=((1.0, 0.5),))
        for metric in UNDER_NOISE
    )
    other = Series(run="student 2", metric=UNDER_NOISE[0], points=((1.0, 0.5),))
    found = charts.noise_curves([other, both, labeled, pseudo_labeled], "student 1")
    assert [curve.run for curve in found] == ["pseudo-labeled", "labeled"]
    assert [curve.run for curve in charts.noise_curves([both], "student 1")] == [
        "all images"
    ]
    assert charts.noise_curves([other], "student 1") == []
