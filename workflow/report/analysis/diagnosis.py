"""Why a student ends below its teacher, read off the figures of its round.

Three things go wrong: the labels it was taught are wrong, it has not learned them, or
the noise is too strong or too weak for it to learn more than them. Each has a figure
and a bound; how far beyond the bound the figure is decides which is the likeliest.
Where hardly any labels were kept, that is the cause, and the other figures say nothing.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from pseudo_label.selection.precision import Precision
from workflow.report.analysis.metrics import CoveragePoint

LABELS, FIT, NOISE = "labels", "fit", "noise"
LIKELY, UNLIKELY, UNKNOWN = "likely", "unlikely", "unknown"

#: Of the teacher's own share of mistakes, how much may be left among the kept labels.
#: With all of them, choosing has chosen nothing, and the student is taught what the
#: teacher gets wrong: on ten classes labels of which 98 % were right brought it two
#: points, 88 % cost six (`docs/selection.md`).
MISTAKES_LEFT = 0.5
#: Share of the pseudo-labels that a student who has learned them repeats without noise.
#: Some of those that are wrong it may know better.
LEARNED = 0.95
#: Share that it repeats under noise, at the end of training, at the least. Below, most
#: of a batch is beyond it, and noise hides more than it adds.
LEARNED_UNDER_NOISE = 0.6
#: Where it repeats more than that both without and under noise, the task is as easy as
#: copying the teacher.
COPIED = 0.995
#: What is tried next: about the smallest change that shows.
_MORE, _LESS = 1.5, 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evidence:
    """The figures of a round that a diagnosis rests on.

    Attributes:
        teacher_accuracy: Of the teacher that labeled.
        kept: Share of the kept labels that are right; None where nothing tells.
        curve: What other thresholds would keep; empty where nothing tells.
        agreement: Share of the pseudo-labels that the student repeats without noise.
        under_noise: Share of its labels that it repeats under noise, at the end of
            training.
        config: Of the student's training.
        labeled: Images with a label that it has learned from; 0 if unknown.
        records: Pseudo-labels that it has learned from; likewise.
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
    def is_of_few(self) -> bool:
        """Whether there were fewer pseudo-labels than labeled images."""
        return self.records < self.labeled


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cause:
    """One thing that may have gone wrong.

    Attributes:
        name: `labels`, `fit` or `noise`.
        state: `likely` beyond its bound, `unlikely` within, else `unknown`.
        severity: Of `likely` and `unlikely`; 1 at the bound.
        finding: The figure and its bound, in words.
        remedy: What to change, in words; empty where nothing is known.
        flags: That change it.
    """

    name: str
    state: str
    severity: float
    finding: str
    remedy: str = ""
    flags: tuple[str, ...] = ()


def diagnose(evidence: Evidence) -> tuple[Cause, ...]:
    """Returns the three causes, the likeliest first."""
    if evidence.is_of_few:
        unknown = "What the student repeats of so few pseudo-labels tells nothing."
        return _too_few(evidence), _unknown(FIT, unknown), _unknown(NOISE, unknown)
    causes = (_labels(evidence), _fit(evidence), _noise(evidence))
    order = (LIKELY, UNKNOWN, UNLIKELY)
    return tuple(sorted(causes, key=lambda c: (order.index(c.state), -c.severity)))


def _labels(evidence: Evidence) -> Cause:
    if evidence.kept is None or evidence.kept.estimate is None:
        return _unknown(LABELS, "How many of the kept labels are right is not known.")
    mistakes = 1.0 - evidence.teacher_accuracy
    bound = 1.0 - MISTAKES_LEFT * mistakes
    kept = evidence.kept
    severity = (1.0 - evidence.kept.estimate) / max(MISTAKES_LEFT * mistakes, 1e-3)
    remedy, flags = _surer(evidence.curve, bound)
    return _judge(
        LABELS,
        severity,
        f"Of the kept labels {_percent(evidence.kept.estimate)} are right "
        f"({_percent(kept.low)} to {_percent(kept.high)}, by {kept.images:,} labeled "
        f"images); at least {_percent(bound)} should be, half the mistakes of the "
        f"teacher, which is right about {_percent(evidence.teacher_accuracy)}.",
        remedy,
        *flags,
    )


def _too_few(evidence: Evidence) -> Cause:
    labeled, records = evidence.labeled, evidence.records
    return _judge(
        LABELS,
        labeled / max(records, 1),
        f"Only {records:,} pseudo-labels were written, and {labeled:,} images are "
        "labeled: there is little in them that the labels do not say.",
        "Keep more of them.",
        "--confidence_threshold",
        "--target_precision",
    )


def _surer(
    curve: tuple[CoveragePoint, ...], bound: float
) -> tuple[str, tuple[str, ...]]:
    """Returns which threshold would do."""
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
    return _judge(
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
        return _judge(
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
    return _judge(
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
    """Returns the flag that multiplies a setting, if there is one to multiply."""
    return (f"--set={name}={value * factor:.10g}",) if value else ()


def _judge(name: str, severity: float, finding: str, remedy: str, *flags: str) -> Cause:
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
