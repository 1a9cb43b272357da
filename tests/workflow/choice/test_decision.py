import dataclasses

import pytest

from workflow.choice import decision
from workflow.choice.cost import Counts
from workflow.choice.decision import Facts, Hardware
from workflow.choice.networks import Backbone

LAPTOP = Hardware(name="2 cores, no GPU", speed=1.5e10, is_fast=False)
GPU = Hardware(name="V100", speed=5e12, is_fast=True)
#: Features that cost little, and some that take a day on two cores.
CHEAP = Backbone(spec="hf:cheap", multiply_adds=1e9)
DEAR = Backbone(spec="hf:dear", multiply_adds=1e12)
UNKNOWN = Backbone(spec="onnx:own")
BIRDS = Facts(
    counts=Counts(labeled=200, unlabeled=3000, classes=10),
    side=64,
    machine=LAPTOP,
    minutes=30.0,
)
MANY = Counts(labeled=20_000, unlabeled=100_000, classes=10)
FEW_LABELS = Counts(labeled=200, unlabeled=20_000, classes=10)


def facts(**changes):
    return dataclasses.replace(BIRDS, **changes)


@pytest.mark.parametrize(
    ("found", "features", "student"),
    [
        # No larger than the images.
        (facts(side=8), None, "tiny at 32 px"),
        (facts(side=32), None, "tiny at 32 px"),
        (facts(side=33), None, "tiny at 64 px"),
        (facts(), None, "tiny at 64 px"),
        # As large as the time allows.
        (facts(minutes=10), None, "tiny at 32 px"),
        (facts(minutes=1), None, "tiny at 32 px"),
        (facts(side=500), None, "tiny at 64 px"),
        (facts(side=500, minutes=150), None, "tiny at 128 px"),
        (facts(side=500, minutes=1e6), None, "tiny at 128 px"),
        (facts(side=500, machine=GPU), None, "tiny at 128 px"),
        # Published networks need many images.
        (
            facts(side=500, machine=GPU, counts=MANY, minutes=600),
            None,
            "resnet_rs_50_160 at 160 px",
        ),
        (facts(side=500, machine=GPU, counts=FEW_LABELS), None, "tiny at 128 px"),
        (
            facts(side=500, machine=GPU, counts=FEW_LABELS, minutes=60, given=UNKNOWN),
            "onnx:own",
            "resnet_rs_50_160 at 160 px",
        ),
        (
            facts(side=100, machine=GPU, counts=FEW_LABELS, minutes=60, given=UNKNOWN),
            "onnx:own",
            "tiny at 128 px",
        ),
        # The best features that are ready in time, unless the user names some.
        (facts(at_hand=(CHEAP,)), "hf:cheap", "tiny at 64 px"),
        (facts(at_hand=(CHEAP, DEAR)), "hf:cheap", "tiny at 64 px"),
        (facts(at_hand=(CHEAP, DEAR), minutes=1e5), "hf:dear", "tiny at 64 px"),
        (facts(at_hand=(DEAR,)), None, "tiny at 64 px"),
        (facts(at_hand=(CHEAP,), given=UNKNOWN), "onnx:own", "tiny at 64 px"),
        (facts(given=DEAR), "hf:dear", "tiny at 32 px"),
        (facts(at_hand=(CHEAP,), needs_network=True), None, "tiny at 64 px"),
    ],
)
def test_choices(found, features, student):
    choice = decision.choose(found)
    assert (choice.features, str(choice.student)) == (features, student)


@pytest.mark.parametrize(
    ("found", "better"),
    [
        (facts(), "teacher.features=hf:timm/resnetrs50.tf_in1k"),
        (facts(at_hand=(CHEAP,)), "more images"),
        (facts(at_hand=(CHEAP,), side=500, minutes=20), "rounds.minutes=21, or a GPU"),
        (facts(needs_network=True, minutes=10), "tiny at 64 px"),
    ],
)
def test_the_next_better_choice_is_named(found, better):
    *_, last = decision.choose(found).reasons
    assert last.startswith("better: ")
    assert better in last


def test_a_choice_has_five_lines():
    for found in (facts(), facts(given=UNKNOWN), facts(at_hand=(DEAR,), side=500)):
        reasons = decision.choose(found).reasons
        assert len(reasons) == 5
        assert not any("\n" in line for line in reasons)


def test_more_minutes_are_enough_for_the_network_that_is_named():
    found = facts(side=500, at_hand=(CHEAP,))
    before = decision.choose(found)
    needed = float(before.reasons[-1].partition("minutes=")[2].partition(",")[0])
    after = decision.choose(dataclasses.replace(found, minutes=needed))
    assert after.student.multiply_adds > before.student.multiply_adds
    assert after.minutes <= needed


@pytest.mark.parametrize(
    ("minutes", "text"),
    [
        (0.2, "1 minutes"),
        (26.7, "27 minutes"),
        (119, "120 minutes"),
        (200, "3.3 hours"),
    ],
)
def test_durations(minutes, text):
    assert decision.format_minutes(minutes) == text
