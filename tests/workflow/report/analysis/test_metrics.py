import collections
import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifier.inference import temperature_scaling
from pseudo_label.selection import precision
from pseudo_label.selection.precision import LabeledPredictions
from workflow.report.analysis import metrics

NAMES = ("ant", "bee", "cat", "dog")


def make(label, predicted, confidence):
    return LabeledPredictions(
        kind="test",
        label=np.array(label, np.int32),
        predicted=np.array(predicted, np.int32),
        confidence=np.array(confidence, np.float32),
    )


images = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(0, 3),
        st.sampled_from([0.01, 0.2, 1 / 3, 0.5, 0.9, 0.99, 1.0]),
    ),
    min_size=1,
    max_size=50,
)


def pairs(both, only_first, only_second, neither):
    counts = [both, only_first, only_second, neither]
    return (
        np.repeat([True, True, False, False], counts),
        np.repeat([True, False, True, False], counts),
    )


# Newcombe's interval of two studies in Fagerland, Lydersen and Laake, Statistical
# Analysis of Contingency Tables (2017), chapter 8.
@pytest.mark.parametrize(
    ("counts", "estimate", "low", "high"),
    [
        ((1, 1, 7, 12), -6 / 21, -0.507, -0.026),
        ((59, 6, 16, 80), -0.0621, -0.1186, -0.0046),
    ],
)
def test_the_paired_interval_is_the_published_one(counts, estimate, low, high):
    found = metrics.paired_difference(*pairs(*counts))
    assert found.estimate == pytest.approx(estimate, abs=5e-5)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-4)


@given(counts=st.tuples(*[st.integers(0, 60)] * 4).filter(sum))
def test_the_paired_interval_holds_the_difference_and_mirrors(counts):
    first, second = pairs(*counts)
    found = metrics.paired_difference(first, second)
    assert -1 <= found.low <= found.estimate <= found.high <= 1
    mirrored = metrics.paired_difference(second, first)
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))


def test_the_paired_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    chances = np.array([0.85, 0.08, 0.04, 0.03])
    held = []
    for _ in range(400):
        found = metrics.paired_difference(*pairs(*rng.multinomial(600, chances)))
        held.append(found.low <= 0.04 <= found.high)
    assert 0.92 < np.mean(held) < 0.98


def test_images_hard_for_both_do_not_widen_the_interval():
    first, second = pairs(500, 30, 10, 60)
    paired = metrics.paired_difference(first, second)
    shares = [metrics.share(int(right.sum()), 600) for right in (first, second)]
    apart = metrics.difference(*shares)
    assert paired.estimate == apart.estimate
    assert paired.high - paired.low < 0.7 * (apart.high - apart.low)


@given(images=images)
def test_reliability_is_that_of_the_calibration(images):
    some = make(*zip(*images, strict=True))
    found = metrics.reliability(some)
    expected = temperature_scaling.calibration_error(some.confidence, some.is_right)
    assert found.error == pytest.approx(expected, abs=1e-6)
    assert sum(bin_.precision.images for bin_ in found.bins) == len(images)
    surplus = some.confidence.mean() - some.is_right.mean()
    assert found.surplus == pytest.approx(surplus, abs=1e-6)
    middles = [bin_.confidence for bin_ in found.bins]
    assert middles == sorted(middles)


@given(images=images, cut=st.sampled_from([0.0, 0.5, 0.95]))
def test_precision_of_each_class_is_counted(images, cut):
    cuts = np.array([cut, 0.5, 0.0, np.inf], np.float32)
    found = metrics.class_precisions(make(*zip(*images, strict=True)), cuts, NAMES)
    by_class = collections.defaultdict(list)
    for label, predicted, confidence in images:
        if np.float32(confidence) >= cuts[predicted]:
            by_class[NAMES[predicted]].append(label == predicted)
    assert {class_.name: class_.precision.estimate for class_ in found} == {
        name: pytest.approx(np.mean(right)) for name, right in by_class.items()
    }
    for class_ in found:
        right = by_class[class_.name]
        expected = precision.Precision.of(np.array(right))
        assert class_.precision == expected


@given(images=images)
def test_confusions_are_counted_from_the_most_frequent_on(images):
    label, predicted, confidence = zip(*images, strict=True)
    teacher = make(label, predicted, confidence)
    student = make(label, predicted[::-1], confidence)
    found = metrics.confusions(teacher, NAMES, student, count=100)
    by_teacher, by_student = (
        collections.Counter(
            (NAMES[a], NAMES[b]) for a, b in zip(label, said, strict=True) if a != b
        )
        for said in (predicted, predicted[::-1])
    )
    assert {(pair.name, pair.taken_for) for pair in found} == {*by_teacher, *by_student}
    for confusion in found:
        pair = confusion.name, confusion.taken_for
        assert (confusion.teacher, confusion.student) == (
            by_teacher[pair],
            by_student[pair],
        )
        assert confusion.of == label.count(NAMES.index(confusion.name))
    peaks = [max(pair.teacher, pair.student) for pair in found]
    assert peaks == sorted(peaks, reverse=True)
    alone = metrics.confusions(teacher, NAMES, count=2)
    assert len(alone) <= 2
    assert all(pair.student is None for pair in alone)


@given(images=images)
def test_the_curve_is_what_each_threshold_keeps(images):
    some = make(*zip(*images, strict=True))
    levels = metrics.coverage_levels(some)
    assert levels[0] == 0.0
    assert np.all(np.diff(levels) > 0)
    curve = metrics.coverage_curve(some, levels, [0.5] * len(levels))
    for point in curve:
        kept = [
            label == predicted
            for label, predicted, confidence in images
            if np.float32(confidence) >= point.threshold
        ]
        assert point.precision.images == len(kept)
        assert point.precision.right == sum(kept)


def test_the_curve_of_many_images_has_few_points():
    rng = np.random.default_rng(0)
    some = make(np.zeros(5000), np.zeros(5000), rng.random(5000))
    levels = metrics.coverage_levels(some)
    assert len(levels) <= 121
    assert (some.confidence >= levels[-1]).sum() >= 10


def test_figures_become_json():
    some = make([0, 1], [0, 0], [0.9, 0.2])
    content = dataclasses.asdict(metrics.reliability(some))
    assert content["bins"][0]["precision"]["images"] == 1
