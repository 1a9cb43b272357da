import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pseudo_label import quality
from pseudo_label.quality import Calibration, Precision


def calibration(confidence, right):
    right = np.array(right, bool)
    return Calibration(
        fingerprint="f",
        kind="held_out",
        teachers=("t",),
        temperature=1.0,
        label=np.where(right, 0, 1).astype(np.int32),
        predicted=np.zeros(len(right), np.int32),
        confidence=np.array(confidence, np.float32),
    )


calibrations = st.lists(
    st.tuples(st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9, 1.0]), st.booleans()),
    min_size=1,
    max_size=40,
).map(lambda rows: calibration(*zip(*rows, strict=True)))


@given(calibration=calibrations, target=st.sampled_from([0.0, 0.5, 0.9, 0.97, 1.0]))
def test_the_threshold_is_the_lowest_that_reaches_the_target(calibration, target):
    def precision(threshold):
        return calibration.is_right[calibration.confidence >= threshold].mean()

    good = [t for t in np.unique(calibration.confidence) if precision(t) >= target]
    if good:
        assert quality.threshold_for(calibration, target) == good[0]
    else:
        with pytest.raises(ValueError, match="no threshold reaches a precision of"):
            quality.threshold_for(calibration, target)


# Figures of Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_is_the_published_one(successes, trials, low, high):
    interval = quality.wilson_interval(successes, trials)
    np.testing.assert_allclose(interval, (low, high), atol=5e-5)


@given(trials=st.integers(1, 500), data=st.data())
def test_wilson_interval_holds_the_share(trials, data):
    successes = data.draw(st.integers(0, trials))
    low, high = quality.wilson_interval(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1
    mirrored = quality.wilson_interval(trials - successes, trials)
    np.testing.assert_allclose((1 - high, 1 - low), mirrored, atol=1e-12)


def test_precision_of_nothing_is_unknown():
    precision = Precision.of(np.array([], bool))
    assert (precision.estimate, precision.low, precision.high) == (None, 0.0, 1.0)
    assert str(precision) == "unknown"


def test_precision_above_takes_each_class_at_its_threshold():
    some = Calibration(
        fingerprint="f",
        kind="held_out",
        teachers=("t",),
        temperature=1.0,
        label=np.array([0, 1, 1, 0], np.int32),
        predicted=np.array([0, 1, 1, 1], np.int32),
        confidence=np.array([0.5, 0.5, 0.9, 0.95], np.float32),
    )
    precision = quality.precision_above(some, np.array([0.4, 0.8], np.float32))
    assert (precision.right, precision.images) == (2, 3)


def test_reads_what_calibrate_writes(tmp_path):
    table = pa.table(
        {
            "key": ["a", "b"],
            "label": pa.array([0, 1], pa.int32()),
            "predicted": pa.array([0, 0], pa.int32()),
            "confidence": pa.array([0.9, 0.4], pa.float32()),
        }
    )
    pq.write_table(table, tmp_path / quality.TABLE)
    facts = {"kind": "out_of_fold", "teachers": ["x", "y"], "temperature": 1.5}
    (tmp_path / quality.CALIBRATION).write_text(json.dumps(facts))
    read = quality.read_calibration(tmp_path)
    assert (read.kind, read.teachers, read.temperature) == (
        "out_of_fold",
        ("x", "y"),
        1.5,
    )
    assert read.is_right.tolist() == [True, False]
    pq.write_table(table[:0], tmp_path / quality.TABLE)
    with pytest.raises(ValueError, match="holds no image"):
        quality.read_calibration(tmp_path)


def test_another_directory_is_no_calibration(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no calibration\.json"):
        quality.read_calibration(tmp_path)
