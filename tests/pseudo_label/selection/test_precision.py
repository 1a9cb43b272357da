import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import threadpoolctl
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from pseudo_label.selection import precision as selection_precision
from pseudo_label.selection.precision import LabeledPredictions, Precision
from stage.calibration_files import CALIBRATION, CALIBRATION_ROWS


def calibration(confidence, right):
    right = np.array(right, bool)
    return LabeledPredictions(
        kind="held_out",
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
        assert selection_precision.threshold_for(calibration, target) == good[0]
    else:
        with pytest.raises(ValueError, match="--target_precision"):
            selection_precision.threshold_for(calibration, target)


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
    interval = selection_precision.wilson_interval(successes, trials)
    np.testing.assert_allclose(interval, (low, high), atol=5e-5)


@given(trials=st.integers(1, 500), data=st.data())
def test_wilson_interval_is_scipys(trials, data):
    successes = data.draw(st.integers(0, trials))
    interval = selection_precision.wilson_interval(successes, trials)
    expected = binomtest(successes, trials).proportion_ci(method="wilson")
    np.testing.assert_allclose(interval, expected, atol=1e-12)


@given(trials=st.integers(1, 500), data=st.data())
def test_wilson_interval_holds_the_share(trials, data):
    successes = data.draw(st.integers(0, trials))
    low, high = selection_precision.wilson_interval(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1
    mirrored = selection_precision.wilson_interval(trials - successes, trials)
    np.testing.assert_allclose((1 - high, 1 - low), mirrored, atol=1e-12)


def test_precision_of_nothing_is_unknown():
    precision = Precision.of(np.array([], bool))
    assert (precision.estimate, precision.low, precision.high) == (None, 0.0, 1.0)
    assert str(precision) == "unknown"


def test_precision_is_printed_with_its_interval_and_number_of_images():
    text = str(Precision.of(np.arange(1000) < 980))
    for figure in ("98.00%", "96.93%", "98.70%", "1,000"):
        assert figure in text


def test_precision_above_takes_each_class_at_its_threshold():
    some = LabeledPredictions(
        kind="held_out",
        label=np.array([0, 1, 1, 0], np.int32),
        predicted=np.array([0, 1, 1, 1], np.int32),
        confidence=np.array([0.5, 0.5, 0.9, 0.95], np.float32),
    )
    precision = selection_precision.precision_above(
        some, np.array([0.4, 0.8], np.float32)
    )
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
    pq.write_table(table, tmp_path / CALIBRATION_ROWS)
    facts = {"kind": "out_of_fold", "teachers": ["x", "y"], "temperature": 1.5}
    (tmp_path / CALIBRATION).write_text(json.dumps(facts))
    read = selection_precision.read_calibration(tmp_path)
    assert read.kind == "out_of_fold"
    assert read.is_right.tolist() == [True, False]
    pq.write_table(table[:0], tmp_path / CALIBRATION_ROWS)
    with pytest.raises(ValueError, match=str(tmp_path)):
        selection_precision.read_calibration(tmp_path)


@pytest.fixture(scope="module")
def digits():
    images, labels = load_digits(return_X_y=True)
    return images / 16, labels


def estimate_and_truth(digits, *, per_class, seed, folds=3, target=0.97):
    """Selects digits by an out-of-fold estimate; returns it and the truth."""
    images, labels = digits
    rng = np.random.default_rng(seed)
    known = np.concatenate(
        [rng.permutation(np.flatnonzero(labels == k))[:per_class] for k in range(10)]
    )
    fold = (np.arange(per_class) + np.arange(10)[:, None]).reshape(-1) % folds
    rest = np.setdiff1d(np.arange(len(labels)), known)
    out_of_fold, ensemble = np.zeros((len(known), 10)), np.zeros((len(rest), 10))
    for left_out in range(folds):
        seen = known[fold != left_out]
        member = LogisticRegression(C=5, max_iter=500).fit(images[seen], labels[seen])
        is_unseen = fold == left_out
        out_of_fold[is_unseen] = member.predict_proba(images[known[is_unseen]])
        ensemble += member.predict_proba(images[rest]) / folds
    predictions = LabeledPredictions(
        kind="out_of_fold",
        label=labels[known].astype(np.int32),
        predicted=out_of_fold.argmax(axis=1).astype(np.int32),
        confidence=out_of_fold.max(axis=1).astype(np.float32),
    )
    threshold = selection_precision.threshold_for(predictions, target)
    estimate = selection_precision.precision_above(
        predictions, np.full(10, threshold, np.float32)
    )
    is_kept = ensemble.max(axis=1).astype(np.float32) >= threshold
    truth = (ensemble.argmax(axis=1) == labels[rest])[is_kept].mean()
    return estimate.estimate, truth


@pytest.mark.parametrize("per_class", [5, 20])
def test_the_estimate_on_digits_is_near_the_truth(digits, per_class):
    # Threads take 30 times as long on matrices as small as these.
    with threadpoolctl.threadpool_limits(1):
        pairs = [
            estimate_and_truth(digits, per_class=per_class, seed=seed)
            for seed in range(8)
        ]
    estimate, truth = np.transpose(pairs)
    # Seen over 30 seeds: 1.4 points for 5 labels a class, 1.2 for 20.
    assert np.abs(estimate - truth).mean() < 0.025
    assert truth.mean() > 0.96
