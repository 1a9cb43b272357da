"""Whether a student is likely to end above the control, before it is trained.

The bounds are those of `docs/students.md`, "Before the student is trained".
`docs/benchmarks.md` says how often the first was right.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from etils import epath

from pseudo_label.predictions.prediction_set import SUMMARY, LabelingSummary
from pseudo_label.predictions.schema import NeighborAgreement
from pseudo_label.selection.decision import Funnel, PrecisionEstimate
from stage import typed_json

#: Lowest agreement of the teacher with the labels of similar images, corrected for
#: chance.
MIN_AGREEMENT = 0.94
#: Lowest share of the images with a prediction whose agreement is known.
MIN_COMPARED = 0.5
#: Lowest precision of the kept labels, where it is estimated.
MIN_PRECISION = 0.9
#: Lowest share of the images, without leaked ones and duplicates, above the threshold.
MIN_CONFIDENT = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outlook:
    """What the figures of a selection say about a student of it.

    Attributes:
        is_likely: Whether it is likely to end above the control, which is trained on
            the labeled images alone; None if nothing is known about the labels.
        finding: The figure that decides, as a clause.
    """

    is_likely: bool | None
    finding: str

    def __str__(self) -> str:
        if self.is_likely is None:
            return (
                "whether the student will end above the control cannot be said: "
                f"{self.finding}"
            )
        likely = "likely" if self.is_likely else "unlikely"
        return f"the student is {likely} to end above the control: {self.finding}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Figure:
    """A figure, its bound, and what it is the share of."""

    share: float
    bound: float
    what: str

    def __str__(self) -> str:
        share = round(self.share, 3)
        if self.share < self.bound <= share:  # What is below its bound is printed so.
            share = math.floor(1000 * self.share) / 1000
        return f"{self.what}, {share:.1%} (bound {self.bound:.0%})"


def judge(
    funnel: Funnel,
    *,
    num_classes: int,
    agreement: NeighborAgreement | None = None,
    estimate: PrecisionEstimate | None = None,
) -> Outlook:
    """Returns the outlook of a selection.

    Args:
        funnel: Its counts.
        num_classes: K.
        agreement: Agreement of the teacher with the labels of similar images, if known.
            It counts if most images were compared.
        estimate: Precision of its labels, if known.
    """
    known = agreement or NeighborAgreement()
    if known.compared < MIN_COMPARED * (funnel.read - funnel.undecodable):
        agreement = None
    labels = list(_judge_labels(num_classes, agreement, estimate))
    figures = [*labels, _confident(funnel)]
    low = [figure for figure in figures if figure.share < figure.bound]
    if low:
        return Outlook(is_likely=False, finding=str(low[0]))
    if funnel.unique_kept < num_classes:
        finding = f"images kept, {funnel.unique_kept:,} for {num_classes:,} classes"
        return Outlook(is_likely=False, finding=finding)
    if not labels:
        return Outlook(
            is_likely=None,
            finding="labels of similar images are known for fewer than half of the "
            "images (propagate_labels), and no calibration estimates the precision of "
            "the kept labels",
        )
    return Outlook(is_likely=True, finding=str(labels[0]))


class Judged(Protocol):
    """What is read of a selection."""

    @property
    def funnel(self) -> Funnel:
        """Its counts."""

    @property
    def classes(self) -> Sequence[Any]:
        """One rule for each of the K classes."""

    @property
    def estimate(self) -> PrecisionEstimate | None:
        """Precision of its labels; None without labeled images."""


def read_outlook(selection: Judged, predictions: epath.PathLike) -> Outlook:
    """Returns the outlook of a selection from the predictions in a directory."""
    return judge(
        selection.funnel,
        num_classes=len(selection.classes),
        agreement=read_agreement(predictions),
        estimate=selection.estimate,
    )


def beyond_chance(agreement: float, num_classes: int) -> float:
    """Returns an agreement in [0, 1], 0 for that of guesses among equal classes.

    It is the S of Bennett et al. (1954), which is Cohen's kappa (1960) if one side
    names all classes equally often.
    """
    chance = 1 / max(2, num_classes)
    return max(0.0, (agreement - chance) / (1 - chance))


def read_agreement(predictions: epath.PathLike) -> NeighborAgreement | None:
    """Returns the agreement that `beam_jobs.propagate_labels` has counted.

    None if the predictions in the directory are of a teacher alone.
    """
    path = epath.Path(predictions) / SUMMARY
    if not path.exists():
        return None
    return typed_json.read(path, LabelingSummary).agreement


def _judge_labels(
    num_classes: int,
    agreement: NeighborAgreement | None,
    estimate: PrecisionEstimate | None,
) -> Iterator[_Figure]:
    if agreement is not None and agreement.compared:
        yield _Figure(
            share=beyond_chance(agreement.share, num_classes),
            bound=MIN_AGREEMENT,
            what="agreement of the teacher with the labels of similar images, "
            "beyond chance",
        )
    if estimate is not None and estimate.kept.estimate is not None:
        yield _Figure(
            share=estimate.kept.estimate,
            bound=MIN_PRECISION,
            what="estimated precision of the kept labels",
        )


def _confident(funnel: Funnel) -> _Figure:
    confident = funnel.unique_kept + funnel.beyond_quota
    return _Figure(
        share=confident / max(1, confident + funnel.below_threshold),
        bound=MIN_CONFIDENT,
        what="share of images above the threshold",
    )
