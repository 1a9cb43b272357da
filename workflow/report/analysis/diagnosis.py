"""Possible causes of a student's low accuracy, from the figures of its round.

Three causes are considered: wrong pseudo-labels, pseudo-labels that were not learned,
and noise that is too strong or too weak. Each has a figure and a bound. Of those beyond
their bounds wrong labels come first: to learn them better is no remedy, and noise can
be judged only once they are learned. If there were fewer pseudo-labels than labeled
images, that is the cause, and the other figures are too uncertain. Before all of these
comes a teacher that is no better than guessing.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from classifier.models.variants import is_resnet_rs
from pseudo_label.selection.precision import Precision
from workflow.report.analysis.metrics import CoveragePoint, Interval
from workflow.report.analysis.round_figures import ReferenceImages
from workflow.report.analysis.run_files import TEST

#: Names of the causes, in the order in which they should be removed.
TEACHER, LABELS, FIT, NOISE = CAUSES = ("teacher", "labels", "fit", "noise")
#: Command that takes the settings which remove a cause.
_COMMAND = "noisy-student run --from=RUN --output=OTHER"
LIKELY, UNLIKELY, UNKNOWN = "likely", "unlikely", "unknown"

#: Highest acceptable error rate of the kept labels, as a share of the teacher's. At 1,
#: the selection has no effect. On ten classes 98 % right labels brought the student two
#: points, 88 % cost six (`docs/selection.md`).
ERRORS_LEFT = 0.5
#: Share of the pseudo-labels that a student repeats without noise once it has learned
#: them. It may correct some of the wrong ones.
LEARNED = 0.95
#: Lowest acceptable share that it repeats under noise at the end of training.
LEARNED_UNDER_NOISE = 0.6
#: Share repeated with and without noise above which the task is too easy: the student
#: only copies the teacher.
COPIED = 0.995
#: Factors of a suggested setting: about the smallest change with a visible effect.
_MORE, _LESS = 1.5, 0.5
_FEWER = "Keep fewer labels, of higher confidence."


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evidence:
    """The figures of a round that a diagnosis uses.

    Attributes:
        teacher: Accuracy of the round's teacher, in [0, 1].
        tested: Number of test images.
        classes: Number of classes; 0 if unknown.
        kept: Precision of the kept labels; None if unknown.
        judges: Images that it is estimated on; None if unknown.
        curve: Effect of other thresholds; empty if unknown.
        agreement: Share of the pseudo-labels that the student repeats without noise.
        under_noise: Share of its labels that the student repeats under noise, at the
            end of training.
        config: Config of the student's training.
        teacher_config: Config of the first teacher's training; empty for a probe.
        labeled: Number of labeled training images; 0 if unknown.
        records: Number of pseudo-labeled training records; 0 if unknown.
    """

    teacher: Interval
    tested: int
    classes: int = 0
    kept: Precision | None
    judges: ReferenceImages | None = None
    curve: tuple[CoveragePoint, ...]
    agreement: float | None
    under_noise: float | None
    config: dict[str, Any]
    teacher_config: dict[str, Any] = dataclasses.field(default_factory=dict)
    labeled: int = 0
    records: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cause:
    """A possible cause.

    Attributes:
        name: One of `CAUSES`.
        state: `likely` beyond its bound, `unlikely` within it, else `unknown`.
        severity: Distance of the figure from its ideal, 1 at the bound; 0 if unknown.
        finding: The figure and its bound as a sentence.
        remedy: Suggested change as a sentence; empty without one.
        flags: Flags of the suggested change.
        command: Command that takes these flags.
    """

    name: str
    state: str
    severity: float
    finding: str
    remedy: str = ""
    flags: tuple[str, ...] = ()
    command: str = ""

    @property
    def change(self) -> str:
        """The suggested change with its flags, in one line; empty without one."""
        flags = " ".join((self.command, *self.flags)) if self.flags else ""
        return ": ".join(filter(None, (self.remedy.rstrip("."), flags)))


def diagnose(evidence: Evidence) -> tuple[Cause, ...]:
    """Returns the causes, the first one to be removed first."""
    guessing = (_guessing(evidence),) if _may_guess(evidence) else ()
    if evidence.records < evidence.labeled:
        finding = "There are too few pseudo-labels to judge by."
        unknown = (_unknown(FIT, finding), _unknown(NOISE, finding))
        return *guessing, _too_few(evidence), *unknown
    causes = (*guessing, _labels(evidence), _fit(evidence), _noise(evidence))
    order = (LIKELY, UNKNOWN, UNLIKELY)
    return tuple(
        sorted(causes, key=lambda c: (order.index(c.state), CAUSES.index(c.name)))
    )


def _may_guess(evidence: Evidence) -> bool:
    """Whether the teacher's accuracy may be that of guessing among its classes."""
    return evidence.classes > 1 and evidence.teacher.low < 1.0 / evidence.classes


def _guessing(evidence: Evidence) -> Cause:
    teacher, chance = evidence.teacher, 1.0 / evidence.classes
    return _known(
        TEACHER,
        chance / max(teacher.low, 1e-3),
        f"The teacher is no better than guessing: it gets {teacher.estimate:.1%} of "
        f"{evidence.tested:,} test images right (95% interval {teacher.low:.1%} to "
        f"{teacher.high:.1%}), and guessing among {evidence.classes:,} classes "
        f"{chance:.1%}.",
        "Label more images, or train the teacher longer.",
        *_changed(
            "teacher", "num_steps", evidence.teacher_config.get("num_steps"), 2.0
        ),
    )


def _labels(evidence: Evidence) -> Cause:
    kept = evidence.kept
    if kept is None or kept.estimate is None:
        return _unknown(LABELS, "The precision of the kept labels is not known.")
    allowed = ERRORS_LEFT * (1.0 - evidence.teacher.estimate)
    bound = 1.0 - allowed
    judges = evidence.judges
    is_blended = judges is not None and judges.before_blending
    is_test = judges is not None and judges.kind == TEST
    own = " by the teacher's own predictions, before blending" if is_blended else ""
    # Thresholds of blended predictions are on another scale than the curve.
    remedy, flags = (
        (_FEWER, ("selection.confidence_threshold",))
        if is_blended
        else _higher_threshold(evidence.curve, bound)
    )
    right, wanted = _distinct(kept.estimate, bound)
    finding = (
        f"Of the kept labels {right} are right ({kept.low:.1%} to {kept.high:.1%}, "
        f"estimated on {kept.images:,} {'test' if is_test else 'labeled'} images{own})."
        f" At least {wanted} should be: half the error rate of the teacher, whose "
        f"accuracy is {evidence.teacher.estimate:.1%}."
    )
    if kept.estimate < bound <= kept.high:
        return _unknown(LABELS, f"{finding} The difference may be chance.")
    return _known(
        LABELS, (1.0 - kept.estimate) / max(allowed, 1e-3), finding, remedy, *flags
    )


def _distinct(first: float, second: float) -> tuple[str, str]:
    """Returns two shares in percent, with as many digits as make them differ."""
    pairs = [(f"{first:.{n}%}", f"{second:.{n}%}") for n in (1, 2, 3)]
    return next((pair for pair in pairs if pair[0] != pair[1]), pairs[0])


def _too_few(evidence: Evidence) -> Cause:
    labeled, records = evidence.labeled, evidence.records
    return _known(
        LABELS,
        labeled / max(records, 1),
        f"Only {records:,} pseudo-labels were written, fewer than the {labeled:,} "
        "labeled images: the student learned little from them.",
        "Keep more pseudo-labels.",
        "selection.confidence_threshold",
        "selection.target_precision",
    )


def _higher_threshold(
    curve: tuple[CoveragePoint, ...], bound: float
) -> tuple[str, tuple[str, ...]]:
    """Returns the lowest threshold within the bound as a remedy and its flags."""
    for point in curve:
        estimate = point.precision.estimate or 0.0
        if estimate >= bound:
            return (
                f"A threshold of {point.threshold:.3g} would make {estimate:.1%} of "
                f"the labels right and keep {point.coverage:.1%} of the images.",
                (f"selection.confidence_threshold={point.threshold:.3g}",),
            )
    if curve:
        return "No threshold reaches that: train with more labeled images.", ()
    return _FEWER, ("selection.target_precision", "data.calibration")


def _fit(evidence: Evidence) -> Cause:
    if evidence.agreement is None:
        return _unknown(FIT, "How many pseudo-labels the student repeats is not known.")
    steps = evidence.config.get("num_steps")
    model = evidence.config.get("model", {})
    has_width = is_resnet_rs(model.get("name", ""))
    width = model.get("width_multiplier") if has_width else None
    only = "only " if evidence.agreement < LEARNED else ""
    return _known(
        FIT,
        (1.0 - evidence.agreement) / (1.0 - LEARNED),
        f"The student has learned {only}{evidence.agreement:.1%} of its pseudo-labels, "
        f"counted without noise; at least {LEARNED:.1%} are expected.",
        "Train longer, or train a wider student.",
        *_changed("student", "num_steps", steps, 2.0),
        *_changed("student", "model.width_multiplier", width, _MORE),
    )


def _noise(evidence: Evidence) -> Cause:
    under = evidence.under_noise
    if under is None:
        return _unknown(NOISE, "The student's accuracy under noise is not known.")
    clean = evidence.agreement
    finding = (
        f"Under noise, at the end of training, the student repeats {under:.1%} of its "
        "labels"
    )
    if clean is not None:
        finding += f", without {clean:.1%}"
    if under >= COPIED and (clean is None or clean >= COPIED):
        return _known(
            NOISE,
            (1.0 - COPIED) / max(1.0 - under, 1e-3),
            f"{finding}. Above {COPIED:.1%} the noise is too weak: the student only "
            "copies the teacher.",
            "Increase the noise.",
            *_noise_flags(evidence.config, _MORE),
        )
    if under < LEARNED_UNDER_NOISE and clean is not None and clean < LEARNED:
        return _unknown(
            NOISE,
            f"{finding}. Whether the noise is too strong can be judged only once the "
            "labels are learned without it.",
        )
    return _known(
        NOISE,
        (1.0 - under) / (1.0 - LEARNED_UNDER_NOISE),
        f"{finding}; below {LEARNED_UNDER_NOISE:.1%} the noise is too strong.",
        "Reduce the noise.",
        *_noise_flags(evidence.config, _LESS),
    )


def _noise_flags(config: dict[str, Any], factor: float) -> tuple[str, ...]:
    augment, model = config.get("augment") or {}, config.get("model") or {}
    return (
        *_changed("student", "augment.magnitude", augment.get("magnitude"), factor),
        *_changed("student", "model.dropout_rate", model.get("dropout_rate"), factor),
    )


def _changed(
    section: str, name: str, value: float | None, factor: float
) -> tuple[str, ...]:
    """Returns a setting of a recipe, multiplied; none for an unset or zero value."""
    return (f"{section}.settings.{name}={value * factor:.10g}",) if value else ()


def _known(
    name: str, severity: float, finding: str, remedy: str, *settings: str
) -> Cause:
    is_likely = severity > 1.0
    return Cause(
        name=name,
        state=LIKELY if is_likely else UNLIKELY,
        severity=severity,
        finding=finding,
        remedy=remedy if is_likely else "",
        flags=tuple(f"--set={text}" for text in settings) if is_likely else (),
        command=_COMMAND if is_likely and settings else "",
    )


def _unknown(name: str, finding: str) -> Cause:
    return Cause(name=name, state=UNKNOWN, severity=0.0, finding=finding)
