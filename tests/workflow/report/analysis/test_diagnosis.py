import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pseudo_label.selection.precision import Precision
from workflow.report.analysis import diagnosis, metrics
from workflow.report.analysis.diagnosis import Evidence
from workflow.report.analysis.metrics import CoveragePoint
from workflow.report.analysis.round_figures import ReferenceImages

CONFIG = {
    "num_steps": 1600,
    "model": {
        "name": "resnet_rs_14",
        "width_multiplier": 0.5,
        "dropout_rate": 0.25,
    },
    "augment": {"magnitude": 6.0},
}


def precision(right, of=100):
    return Precision.of(np.arange(of) < right)


def evidence(**changed):
    facts = {
        "teacher": metrics.share(900, 1000),
        "tested": 1000,
        "classes": 10,
        "kept": precision(98),
        "curve": (),
        "agreement": 0.98,
        "under_noise": 0.8,
        "config": CONFIG,
    }
    return Evidence(**{**facts, **changed})


def states(found):
    return {cause.name: cause.state for cause in found}


def test_figures_within_their_bounds_are_unlikely_causes():
    found = diagnosis.diagnose(evidence())
    assert set(states(found).values()) == {"unlikely"}
    assert not any(cause.flags or cause.remedy for cause in found)


@pytest.mark.parametrize(
    ("changed", "cause", "flags"),
    [
        (
            {"kept": precision(88)},
            "labels",
            ("--set=selection.target_precision", "--set=data.calibration"),
        ),
        (
            {"agreement": 0.8},
            "fit",
            (
                "--set=student.settings.num_steps=3200",
                "--set=student.settings.model.width_multiplier=0.75",
            ),
        ),
        (
            {
                "agreement": 0.8,
                "config": {
                    **CONFIG,
                    "model": {**CONFIG["model"], "name": "EfficientNetLite0"},
                },
            },
            "fit",
            ("--set=student.settings.num_steps=3200",),
        ),
        (
            {"under_noise": 0.3},
            "noise",
            (
                "--set=student.settings.augment.magnitude=3",
                "--set=student.settings.model.dropout_rate=0.125",
            ),
        ),
        (
            {"under_noise": 0.999, "agreement": 1.0},
            "noise",
            (
                "--set=student.settings.augment.magnitude=9",
                "--set=student.settings.model.dropout_rate=0.375",
            ),
        ),
    ],
)
def test_what_is_beyond_its_bound_is_the_likeliest(changed, cause, flags):
    first, *others = diagnosis.diagnose(evidence(**changed))
    assert (first.name, first.state, first.flags) == (cause, "likely", flags)
    assert first.severity > 1
    assert first.remedy
    assert all(other.state == "unlikely" for other in others)


def test_a_precision_whose_interval_holds_the_bound_is_no_cause():
    few, many = (
        diagnosis.diagnose(evidence(kept=precision(right, of=of)))
        for right, of in ((94, 100), (9_400, 10_000))
    )
    assert states(few)["labels"] == "unknown"
    assert not any(cause.flags for cause in few)
    assert "may be chance" in next(c.finding for c in few if c.name == "labels")
    assert states(many)["labels"] == "likely"


def test_fewer_pseudo_labels_than_labels_are_the_cause():
    """Even if all of them are right and repeated."""
    found = diagnosis.diagnose(
        evidence(labeled=200, records=9, kept=precision(2, of=2), agreement=1.0)
    )
    assert [(cause.name, cause.state) for cause in found] == [
        *(("labels", "likely"), ("fit", "unknown"), ("noise", "unknown"))
    ]
    assert "Only 9 pseudo-labels" in found[0].finding
    assert "--set=selection.target_precision" in found[0].flags
    enough = evidence(labeled=200, records=200)
    assert diagnosis.diagnose(enough) == diagnosis.diagnose(evidence())


def test_a_sufficient_threshold_is_named():
    curve = tuple(
        CoveragePoint(threshold=t, coverage=1 - t, precision=precision(right))
        for t, right in ((0.0, 80), (0.62, 96), (0.9, 100))
    )
    first, *_ = diagnosis.diagnose(evidence(kept=precision(80), curve=curve))
    assert first.flags == ("--set=selection.confidence_threshold=0.62",)
    assert "96.0% of the labels right" in first.remedy
    assert "38.0% of the images" in first.remedy
    first, *_ = diagnosis.diagnose(evidence(kept=precision(80), curve=curve[:1]))
    assert not first.flags
    assert "more labeled images" in first.remedy


def judges(kind, *, before_blending=False):
    return ReferenceImages(kind=kind, images=600, before_blending=before_blending)


def test_no_threshold_of_another_scale_is_named():
    curve = tuple(
        CoveragePoint(threshold=t, coverage=1 - t, precision=precision(right))
        for t, right in ((0.0, 80), (0.62, 96))
    )
    blended = evidence(
        kept=precision(80), curve=curve, judges=judges("test", before_blending=True)
    )
    first, *_ = diagnosis.diagnose(blended)
    assert first.flags == ("--set=selection.confidence_threshold",)
    assert "0.62" not in first.remedy
    assert "100 test images by the teacher's own predictions" in first.finding
    own = evidence(kept=precision(80), curve=curve, judges=judges("held_out"))
    first, *_ = diagnosis.diagnose(own)
    assert first.flags == ("--set=selection.confidence_threshold=0.62",)
    assert "100 labeled images)" in first.finding


@pytest.mark.parametrize(
    ("right", "of", "accuracy", "shown"),
    [
        (571, 578, 586 / 600, ("98.79%", "98.83%")),
        (98, 100, 0.9, ("98.0%", "95.0%")),
        (95, 100, 0.9, ("95.0%", "95.0%")),
    ],
)
def test_a_figure_and_its_bound_are_printed_apart(right, of, accuracy, shown):
    found = diagnosis.diagnose(
        evidence(
            kept=precision(right, of=of),
            teacher=metrics.share(round(600 * accuracy), 600),
        )
    )
    (labels,) = (cause for cause in found if cause.name == "labels")
    assert f"labels {shown[0]} are right" in labels.finding
    assert f"At least {shown[1]} should be" in labels.finding


def test_noise_is_not_blamed_for_labels_that_were_not_learned():
    found = diagnosis.diagnose(evidence(agreement=0.5, under_noise=0.3))
    assert states(found) == {"fit": "likely", "noise": "unknown", "labels": "unlikely"}


def test_missing_figures_are_unknown_causes():
    nothing = evidence(kept=None, agreement=None, under_noise=None)
    assert set(states(diagnosis.diagnose(nothing)).values()) == {"unknown"}
    none_right = evidence(kept=Precision.of(np.empty(0, bool)))
    assert states(diagnosis.diagnose(none_right))["labels"] == "unknown"


def test_missing_settings_are_not_changed():
    first, *_ = diagnosis.diagnose(evidence(agreement=0.1, config={}))
    assert (first.name, first.flags) == ("fit", ())


shares = st.none() | st.floats(0, 1)


@given(
    teacher=st.integers(0, 1000), right=st.integers(0, 100), fit=shares, noise=shares
)
def test_all_come_in_the_order_of_their_removal(teacher, right, fit, noise):
    found = diagnosis.diagnose(
        evidence(
            teacher=metrics.share(teacher, 1000),
            kept=precision(right),
            agreement=fit,
            under_noise=noise,
        )
    )
    names = [cause.name for cause in found if cause.name != "teacher"]
    assert sorted(names) == ["fit", "labels", "noise"]
    assert (found[0].name == "teacher") == (len(found) == 4)
    ranks = [("likely", "unknown", "unlikely").index(c.state) for c in found]
    assert ranks == sorted(ranks)
    likely = [cause.name for cause in found if cause.state == "likely"]
    assert likely == [name for name in diagnosis.CAUSES if name in likely]


def test_wrong_labels_come_before_labels_not_learned():
    """However far from its bound each of them is."""
    first, second, _ = diagnosis.diagnose(evidence(kept=precision(88), agreement=0.1))
    assert (first.name, second.name) == ("labels", "fit")
    assert second.severity > first.severity > 1


@pytest.mark.parametrize(
    ("right", "tested", "classes", "guesses"),
    [
        (8, 24, 3, True),
        (14, 24, 3, False),
        (2, 24, 3, True),  # Worse than guessing.
        (15, 24, 2, True),
        (330, 600, 2, False),
        (24, 24, 1, False),
        (8, 24, 0, False),
    ],
)
def test_a_teacher_at_chance_is_the_first_cause(right, tested, classes, guesses):
    first, *others = diagnosis.diagnose(
        evidence(
            teacher=metrics.share(right, tested),
            tested=tested,
            classes=classes,
            agreement=0.5,
            teacher_config={"num_steps": 500},
        )
    )
    assert (first.name == "teacher") == guesses
    assert len(others) == 2 + guesses
    if guesses:
        assert first.state == "likely"
        assert first.change.endswith("OTHER --set=teacher.settings.num_steps=1000")
        assert f"{right / tested:.1%} of {tested} test images" in first.finding
