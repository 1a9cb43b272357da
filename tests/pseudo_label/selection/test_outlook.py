import dataclasses
import json

import numpy as np
import pytest

from pseudo_label.predictions.schema import NeighborAgreement
from pseudo_label.selection import outlook
from pseudo_label.selection.decision import Funnel, PrecisionEstimate
from pseudo_label.selection.precision import Precision

FUNNEL = Funnel(
    read=1_000,
    undecodable=0,
    leaked=100,
    duplicate=300,
    below_threshold=200,
    beyond_quota=100,
    unique_kept=300,
    copies=0,
    records=300,
)


#: 900 images have a prediction.
PARTLY_DECODED = dataclasses.replace(FUNNEL, undecodable=100, leaked=0)


def agree(same, compared=1_000):
    return NeighborAgreement(compared=compared, same=same)


def estimate(right, images=100):
    precision = Precision.of(np.arange(images) < right)
    return PrecisionEstimate(kind="held_out", above_threshold=precision, kept=precision)


@pytest.mark.parametrize(
    ("num_classes", "same", "shown"),
    [(2, 970, "94.0%"), (2, 969, "93.8%"), (10, 946, "94.0%"), (10, 945, "93.9%")],
)
def test_agreement_is_corrected_for_chance(num_classes, same, shown):
    found = outlook.judge(FUNNEL, num_classes=num_classes, agreement=agree(same))
    assert found.is_likely is (shown == "94.0%")
    assert f", {shown} (bound 94%)" in found.finding
    assert ("unlikely" in str(found)) != found.is_likely


def test_the_first_figure_below_its_bound_decides():
    everything = {"num_classes": 10, "agreement": agree(990)}
    assert outlook.judge(FUNNEL, **everything, estimate=estimate(90)).is_likely
    wrong = outlook.judge(FUNNEL, **everything, estimate=estimate(89))
    assert wrong.is_likely is False
    assert "precision" in wrong.finding
    # Leaked images and duplicates are not counted: 400 of 800 are enough.
    few = dataclasses.replace(FUNNEL, below_threshold=401)
    assert outlook.judge(few, **everything).is_likely is False
    enough = dataclasses.replace(FUNNEL, below_threshold=400)
    assert outlook.judge(enough, **everything).is_likely


def test_a_figure_below_its_bound_is_printed_so():
    almost = outlook.judge(FUNNEL, num_classes=10, agreement=agree(94_589, 100_000))
    assert almost.is_likely is False
    assert "beyond chance, 93.9% (bound 94%)" in almost.finding


def test_nothing_is_said_without_figures():
    few = {"agreement": agree(449, 449)}
    for known in ({}, few, {"agreement": agree(0, 0)}, {"estimate": estimate(0, 0)}):
        found = outlook.judge(PARTLY_DECODED, num_classes=3, **known)
        assert found.is_likely is None
        assert "cannot be said" in str(found)
    enough = outlook.judge(PARTLY_DECODED, num_classes=3, agreement=agree(450, 450))
    assert enough.is_likely


def test_nothing_selected_is_no_gain():
    nothing = dataclasses.replace(FUNNEL, unique_kept=0, beyond_quota=0)
    assert outlook.judge(nothing, num_classes=3).is_likely is False


def test_fewer_images_than_classes_are_no_gain():
    everything = {"num_classes": 300, "agreement": agree(1_000)}
    assert outlook.judge(FUNNEL, **everything).is_likely
    fewer = dataclasses.replace(FUNNEL, unique_kept=299, beyond_quota=101)
    found = outlook.judge(fewer, **everything)
    assert found.is_likely is False
    assert "299 for 300 classes" in found.finding


def test_agreement_is_that_of_the_predictions(tmp_path):
    assert outlook.read_agreement(tmp_path) is None
    counts = {"compared": 7, "same": 5}
    (tmp_path / "summary.json").write_text(json.dumps({"agreement": counts}))
    assert outlook.read_agreement(tmp_path) == agree(5, 7)
    assert (agree(5, 8).share, agree(0, 0).share) == (0.625, 0)
