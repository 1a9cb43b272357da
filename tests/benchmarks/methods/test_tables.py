import dataclasses
import json
import math

import numpy as np
import pytest
import scipy.stats

from benchmarks.methods import plot, tables
from tests.benchmarks.methods.made import KEY, RESULT


def result(method, seed, accuracy, *, budget=1.0, multiply_adds=90.0, parts=None):
    key = dataclasses.replace(KEY, seed=seed, budget=budget, method=method)
    return dataclasses.replace(
        RESULT,
        key=key,
        accuracy=accuracy,
        multiply_adds=multiply_adds,
        target=100.0 * budget,
        parts=parts or {},
    )


RNG = np.random.default_rng(0)
OURS, PEER = RNG.uniform(0.8, 0.95, (2, 6))
RESULTS = [
    *(result("ours_2", seed, value) for seed, value in enumerate(OURS)),
    *(
        result("ours_2", seed, value - 0.1, budget=0.5, multiply_adds=45.0)
        for seed, value in enumerate(OURS)
    ),
    *(result("peer", seed, value) for seed, value in enumerate(PEER)),
    *(result("free", seed, 0.9, budget=0.0) for seed in range(3)),
]


def find(items, **fields):
    (found,) = [
        item
        for item in items
        if all(getattr(item, name) == value for name, value in fields.items())
    ]
    return found


def test_means_have_the_interval_of_students_t():
    mean = find(tables.means(RESULTS), method="ours_2", budget=1.0)
    assert mean.seeds == 6
    assert mean.mean == pytest.approx(OURS.mean())
    assert mean.sd == pytest.approx(OURS.std(ddof=1))
    low, high = scipy.stats.t.interval(
        0.95, 5, loc=OURS.mean(), scale=scipy.stats.sem(OURS)
    )
    assert (mean.low, mean.high) == pytest.approx((low, high))
    assert mean.compute == pytest.approx(0.9)


def test_the_interval_of_a_mean_ends_where_accuracies_do():
    group = [result("peer", seed, value) for seed, value in enumerate((0.1, 0.9))]
    (mean,) = tables.means(group)
    assert (mean.low, mean.high) == (0, 1)


def test_differences_are_paired_by_seed():
    found = tables.differences(RESULTS, "ours")
    one = find(found, over="peer", budget=1.0)
    paired = OURS - PEER
    expected = scipy.stats.ttest_1samp(paired, 0).confidence_interval(0.95)
    assert (one.low, one.high) == pytest.approx((expected.low, expected.high))
    assert one.mean == pytest.approx(paired.mean())
    assert one.wins == np.sum(paired > 0)


def test_a_method_without_training_is_compared_at_every_budget():
    found = tables.differences(RESULTS, "ours")
    for budget, lost in ((1.0, 0.0), (0.5, 0.1)):
        one = find(found, over="free", budget=budget)
        assert one.seeds == 3
        assert one.mean == pytest.approx(np.mean(OURS[:3] - lost - 0.9))
    # There is no peer at half the budget.
    assert not [one for one in found if (one.over, one.budget) == ("peer", 0.5)]


def test_one_seed_has_no_interval():
    found = tables.means([result("ours_1", 1, 0.5)])
    assert (found[0].low, found[0].high, found[0].sd) == (None, None, None)
    assert "50.00 sd - n 1 " in "\n".join(tables.format_means(found))


def test_tables_and_json_have_every_figure():
    means, differences = tables.means(RESULTS), tables.differences(RESULTS, "ours")
    text = "\n".join(tables.format_means(means))
    assert text.startswith("mean accuracy and standard deviation in %, number of ")
    assert f"{100 * OURS.mean():.2f} sd {100 * OURS.std(ddof=1):.2f} n 6 " in text
    assert len(list(tables.format_differences(differences))) == len(differences)
    content = json.loads(
        json.dumps(tables.to_json(means, differences, [], data="digits"))
    )
    assert content["data"] == "digits"
    assert len(content["means"]) == 4


def test_the_plot_has_a_line_for_every_method():
    import xml.etree.ElementTree as ElementTree

    found = tables.means(RESULTS)
    root = ElementTree.fromstring(plot.draw(found))
    texts = [e.text for e in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"ours_2", "peer", "free"} <= set(texts)
    assert {"45", "90"} <= set(texts)
    for element in root.iter():
        for name in ("cx", "cy", "x", "y"):
            value = element.get(name)
            assert value is None or math.isfinite(float(value))
    for few in (found[:1], found[-1:]):
        ElementTree.fromstring(plot.draw(few))


def test_outlooks_are_compared_with_what_happened():
    def chain(seed, agreement, student):
        parts = {"agreement 1": agreement, "teacher": 0.75, "student 1": student}
        return result("ours_1", seed, student, parts=parts)

    found = tables.check_outlooks(
        [
            *(result("control", seed, 0.8) for seed in (1, 2, 3)),
            chain(1, 0.99, 0.85),
            chain(2, 0.99, 0.79),
            chain(3, 0.5, 0.9),
            # Without a control.
            chain(4, 0.5, 0.7),
            result("ours_1", 5, 0.9, parts={"kept 1": 0}),
            # Its first student had a part of the budget only.
            result("ours_2", 1, 0.9, parts=chain(1, 0.99, 0.7).parts | {"kept 2": 9}),
        ],
        prefix="ours",
        control="control",
    )
    assert [dataclasses.astuple(one) for one in found] == [
        ("control", 2, 1, 1, 1),
        ("teacher", 2, 2, 2, 1),
    ]
    assert list(tables.format_forecasts(found)) == [
        "outlook against control: 2 of 3 students were likely to end above it, and 1 "
        "did; 1 were unlikely, and 1 did",
        "outlook against teacher: 2 of 4 students were likely to end above it, and 2 "
        "did; 2 were unlikely, and 1 did",
    ]
