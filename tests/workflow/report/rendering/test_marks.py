import itertools
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from workflow.report.rendering import marks
from workflow.report.rendering.marks import Axis


def test_an_axis_maps_its_ends_and_clips_values_beyond():
    axis = Axis(low=1, high=3, start=100, end=0)
    assert [axis(value) for value in (1, 2, 3, 0, 9)] == [100, 50, 0, 100, 0]
    logarithmic = Axis(low=0, high=99, start=0, end=2, scale=math.log1p)
    assert math.isclose(logarithmic(9), 1)
    assert Axis(low=2, high=2, start=0, end=10)(2) == 5


@given(low=st.floats(0, 1), width=st.floats(1e-6, 1e9), count=st.integers(2, 8))
def test_ticks_are_round_and_within(low, width, count):
    found = marks.ticks(low, low + width, count)
    slack = 1e-6 * width
    assert all(low - slack <= tick <= low + width + slack for tick in found)
    assert list(found) == sorted(set(found))
    assert len(found) <= 2 * count + 1
    if len(found) > 2:
        np.testing.assert_allclose(np.diff(found), found[1] - found[0], rtol=1e-3)


@given(st.lists(st.floats(30, 200), min_size=1, max_size=10).map(sorted))
def test_labels_are_moved_apart_only_if_they_overlap(heights):
    moved = marks.spread(heights, top=30, bottom=230)
    assert np.all(np.diff(moved) >= 14 - 1e-6)
    assert moved[-1] <= 230
    if all(b - a >= 14 for a, b in itertools.pairwise(heights)):
        assert moved == heights


def test_large_counts_are_abbreviated():
    counts = (0, 950, 1300, 20_000, 1.5e6, 130e6, 2e9)
    assert [marks.axis_count(count) for count in counts] == [
        *("0", "950", "1,300", "20k", "1.5M", "130M", "2G")
    ]


def test_marks_hold_rounded_coordinates():
    assert marks.line([(1, 2.04), (3.96, 4)], "a").attributes == {
        "d": "M1 2L4 4",
        "class": "a",
        "fill": "none",
    }
    assert marks.area([(0, 0), (1, 0)], [(0, 2), (1, 3)], "a").attributes["d"] == (
        "M0 0L1 0L1 3L0 2Z"
    )
    box = marks.box(0.25, 1, 2, 3, "b")
    assert list(box.attributes.values()) == ["0.2", "1", "2", "3", "b"]
    dot = marks.dot((1, 2), 3.5, "c")
    assert list(dot.attributes.values()) == ["1", "2", "3.5", "c"]
    assert (box.tag, dot.tag) == ("rect", "circle")


def test_an_axis_of_one_value_has_one_tick():
    assert marks.ticks(2.5, 2.5) == (2.5,)
