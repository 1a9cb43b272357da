import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pseudo_label.selection import thresholds
from pseudo_label.selection.thresholds import ThresholdConfig

NAMES = ("ant", "bee", "cat")


@pytest.mark.parametrize("value", [1.1, -0.1, float("nan")])
def test_a_threshold_is_a_share(value):
    with pytest.raises(ValueError, match=rf"confidence_threshold .*{value}"):
        ThresholdConfig(rule=thresholds.FIXED, values=(value,))
    with pytest.raises(ValueError, match=rf"target_precision .*{value}"):
        ThresholdConfig(rule=thresholds.FIXED, values=(0.5,), target=value)


def test_one_threshold_is_that_of_all_classes():
    config = ThresholdConfig(rule=thresholds.FIXED, values=(0.9,))
    assert config.of_classes(3).tolist() == [np.float32(0.9)] * 3


def test_thresholds_of_a_file_go_by_name(tmp_path):
    path = tmp_path / "thresholds.json"
    path.write_text(json.dumps({"cat": 0.25, "ant": 1}))
    values = thresholds.read_class_thresholds(str(path), NAMES, default=0.5)
    assert values == (1.0, 0.5, 0.25)


@pytest.mark.parametrize(
    ("content", "default", "pattern"),
    [
        ('{"cow": 0.5}', 0.5, "'cow'"),
        ('{"ant": 1.5}', 0.5, "ant: .*1.5"),
        ('{"ant": NaN}', 0.5, "NaN"),
        ('{"ant": "high"}', 0.5, 'ant: .*"high"'),
        ('{"ant": true}', 0.5, "ant: .*true"),
        ('{"ant": 0.5}', None, r"'bee' \(2 of 3"),
        ("[0.5]", 0.5, r"\[0.5\]"),
        ("half", 0.5, "JSON"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, content, default, pattern):
    path = tmp_path / "thresholds.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=rf"thresholds\.json: .*{pattern}"):
        thresholds.read_class_thresholds(str(path), NAMES, default=default)


@given(
    confident=st.lists(st.integers(0, 10**9), min_size=1, max_size=9),
    base=st.floats(0, 1, width=32),
)
def test_adapting_lowers_thresholds_of_what_is_learned_less(confident, base):
    base = np.full(len(confident), base, np.float32)
    adapted = thresholds.adapt(base, np.array(confident))
    assert (adapted <= base).all()
    assert (adapted >= 0).all()
    order = np.argsort(confident)
    assert (np.diff(adapted[order]) >= 0).all()
    if max(confident):
        assert adapted[np.argmax(confident)] == base[0]


def test_adapting_is_flexmatchs():
    # x / (2 - x) of a half is a third.
    adapted = thresholds.adapt(np.full(3, 0.9, np.float32), np.array([10, 5, 0]))
    np.testing.assert_allclose(adapted, [0.9, 0.3, 0.0], rtol=1e-6)
