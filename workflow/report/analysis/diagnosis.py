"""Possible causes of a student's low accuracy, from the figures of its round.

Three causes are considered: wrong pseudo-labels, pseudo-labels that were not learned,
and noise that is too strong or too weak. Each has a figure and a bound; the one
farthest beyond its bound is the likeliest. If hardly any pseudo-labels were kept, that
is the cause, and the other figures prove nothing.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from pseudo_label.selection.precision import Precision
from workflow.report.analysis.metrics import CoveragePoint

LABELS, FIT, NOISE = "labels", "fit", "noise"
LIKELY, UNLIKELY, UNKNOWN = "likely", "unlikely", "unknown"

#: Largest share of the teacher's mistakes that may be left among the kept labels. If
#: all are left, the selection has no effect. On ten classes 98 % right labels brought
#: the student two points, 88 % cost six (`docs/selection.md`).
MISTAKES_LEFT = 0.5
#: Share of the pseudo-labels that a student repeats without noise once it has learned
#: them. It may correct some of the wrong ones.
LEARNED = 0.95
#: Least share that it repeats under noise at the end of training. Below it, noise hides
#: more than it adds.
LEARNED_UNDER_NOISE = 0.6
#: Share repeated with and without noise above which the task is too easy: the student
#: only copies the teacher.
COPIED = 0.995
#: Factors of a suggested setting: about the smallest change with a visible effect.
_MORE, _LESS = 1.5, 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evidence:
    """The figures of a round that a diagnosis uses.

    Attributes:
        teacher_accuracy: Accuracy of the round's teacher, in [0, 1].
        kept: Precision of the kept labels; None if unknown.
        curve: Effect of other thresholds; empty if unknown.
        agreement: Share of the pseudo-labels that the student repeats without noise.
        under_noise: Share of its labels that the student repeats under noise, at the
            end of training.
        config: Config of the student's training.
        labeled: Number of labeled training images; 0 if unknown.
        records: Number of pseudo-labeled training records; 0 if unknown.
    """

    teacher_accuracy: float
    kept: Precision | None
    curve: tuple[CoveragePoint, ...]
    agreement: float | None
    under_noise: float | None
    config: dict[str, Any]
    labeled: int = 0
    records: int = 0

    @property
    def has_few_records(self) -> bool:
        """Whether there were fewer pseudo-labels than labeled images."""
        return self.records < self.labeled


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cause:
    """A possible cause.

    Attributes:
        name: `labels`, `fit` or `noise`.
        state: `likely` beyond its bound, `unlikely` within it, else `unknown`.
        severity: Distance of the figure from its ideal, 1 at the bound; 0 if unknown.
        finding: The figure and its bound, in words.
        remedy: Suggested change, in words; may be empty.
        flags: Flags of the suggested change.
    """

    name: str
    state: str
    severity: float
    finding: str
    remedy: str = ""
    flags: tuple[str, ...] = ()


def diagnose(evidence: Evidence) -> tuple[Cause, ...]:
    """Returns the three causes, the likeliest first."""
    if evidence.has_few_records:
        finding = "What the student repeats of so few pseudo-labels tells nothing."
        return _too_few(evidence), _unknown(FIT, finding), _unknown(NOISE, finding)
    causes = (_labels(evidence), _fit(evidence), _noise(evidence))
    order = (LIKELY, UNKNOWN, UNLIKELY)
    return tuple(sorted(causes, key=lambda c: (order.index(c.state), -c.severity)))


def _labels(evidence: Evidence) -> Cause:
    kept = evidence.kept
    if kept is None or kept.estimate is None:
        return _unknown(LABELS, "How many of the kept labels are right is not known.")
    allowed = MISTAKES_LEFT * (1.0 - evidence.teacher_accuracy)
    bound = 1.0 - allowed
    remedy, flags = _higher_threshold(evidence.curve, bound)
    return _known(
        LABELS,
        (1.0 - kept.estimate) / max(allowed, 1e-3),
        f"Of the kept labels {_percent(kept.estimate)} are right "
        f"({_percent(kept.low)} to {_percent(kept.high)}, by {kept.images:,} labeled "
        f"images); at least {_percent(bound)} should be, half the mistakes of the "
        f"teacher, which is right about {_percent(evidence.teacher_accuracy)}.",
        remedy,
        *flags,
    )


def _too_few(evidence: Evidence) -> Cause:
    labeled, records = evidence.labeled, evidence.records
    return _known(
        LABELS,
        labeled / max(records, 1),
        f"Only {records:,} pseudo-labels were written, and {labeled:,} images are "
        "labeled: there is little in them that the labels do not say.",
        "Keep more of them.",
        "--confidence_threshold",
        "--target_precision",
    )


def _higher_threshold(
    curve: tuple[CoveragePoint, ...], bound: float
) -> tuple[str, tuple[str, ...]]:
    """Returns, in words and as a flag, the lowest threshold within the bound."""
    for point in curve:
        if (point.precision.estimate or 0.0) >= bound:
            return (
                f"A threshold of {point.threshold:.3g} would make "
                f"{_percent(point.precision.estimate or 0.0)} of the labels right, "
                f"and keep {_percent(point.coverage)} of the images.",
                (f"--confidence_threshold={point.threshold:.3g}",),
            )
    if curve:
        return "No threshold would do: the teacher needs more labeled images.", ()
    return "Keep fewer and surer labels.", ("--target_precision", "--calibration")


def _fit(evidence: Evidence) -> Cause:
    if evidence.agreement is None:
        return _unknown(FIT, "How many pseudo-labels the student repeats is not known.")
    steps = evidence.config.get("num_steps")
    width = evidence.config.get("model", {}).get("width_multiplier")
    return _known(
        FIT,
        (1.0 - evidence.agreement) / (1.0 - LEARNED),
        f"Without noise the student repeats {_percent(evidence.agreement)} of the "
        f"pseudo-labels; one that has learned them repeats {_percent(LEARNED)}.",
        "Train longer, or a wider student.",
        *_changed("num_steps", steps, 2.0),
        *_changed("model.width_multiplier", width, _MORE),
    )


def _noise(evidence: Evidence) -> Cause:
    under = evidence.under_noise
    if under is None:
        return _unknown(NOISE, "What noise does to the student is not known.")
    clean = evidence.agreement
    is_copied = under >= COPIED and (clean is None or clean >= COPIED)
    finding = (
        f"Under noise, at the end of training, the student repeats {_percent(under)} "
        "of its labels"
    )
    if clean is not None:
        finding += f", without {_percent(clean)}"
    if is_copied:
        return _known(
            NOISE,
            (1.0 - COPIED) / max(1.0 - under, 1e-3),
            f"{finding}. Beyond {_percent(COPIED)} the noise is too weak: all that is "
            "left to learn is to copy the teacher.",
            "More noise.",
            *_noise_flags(evidence.config, _MORE),
        )
    if under < LEARNED_UNDER_NOISE and clean is not None and clean < LEARNED:
        return _unknown(
            NOISE,
            f"{finding}. Whether the noise is too strong shows once the labels are "
            "learned without it.",
        )
    return _known(
        NOISE,
        (1.0 - under) / (1.0 - LEARNED_UNDER_NOISE),
        f"{finding}; below {_percent(LEARNED_UNDER_NOISE)} the noise is too strong.",
        "Less noise.",
        *_noise_flags(evidence.config, _LESS),
    )


def _noise_flags(config: dict[str, Any], factor: float) -> tuple[str, ...]:
    augment, model = config.get("augment") or {}, config.get("model") or {}
    return (
        *_changed("augment.magnitude", augment.get("magnitude"), factor),
        *_changed("model.dropout_rate", model.get("dropout_rate"), factor),
    )


def _changed(name: str, value: float | None, factor: float) -> tuple[str, ...]:
    """Returns the flag that multiplies a setting; none for an unset or zero value."""
    return (f"--set={name}={value * factor:.10g}",) if value else ()


def _known(name: str, severity: float, finding: str, remedy: str, *flags: str) -> Cause:
    is_likely = severity > 1.0
    return Cause(
        name=name,
        state=LIKELY if is_likely else UNLIKELY,
        severity=severity,
        finding=finding,
        remedy=remedy if is_likely else "",
        flags=flags if is_likely else (),
    )


def _unknown(name: str, finding: str) -> Cause:
    return Cause(name=name, state=UNKNOWN, severity=0.0, finding=finding)


def _percent(share: float) -> str:
    return f"{share:.1%}"
