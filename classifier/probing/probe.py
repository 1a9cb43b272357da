"""A probe: a head, and the predictions that it is calibrated on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from classifier.export.head import Head
from classifier.inference.calibration import PartPredictions
from classifier.probing import cross_validation, zero_shot
from classifier.probing.config import ProbeConfig
from classifier.probing.cross_validation import ChosenC
from classifier.probing.embeddings import LabeledEmbeddings
from classifier.probing.logistic_regression import fit_head
from stage.calibration_files import HELD_OUT, OUT_OF_FOLD


@dataclasses.dataclass(frozen=True, eq=False)
class Probe:
    """A head and what is known about it.

    Attributes:
        head: The head.
        kind: `out_of_fold` or `held_out`: how the images were predicted.
        predicted: Predictions of labeled images by heads that have not seen them; empty
            if there are none.
        lines: What the user should know.
    """

    head: Head
    kind: str
    predicted: Sequence[PartPredictions]
    lines: Sequence[str]


def fit(labeled: LabeledEmbeddings, config: ProbeConfig) -> Probe:
    """Returns the head that was fitted to labeled images, every class among them."""
    chosen = cross_validation.choose_c(labeled, config)
    fold = cross_validation.assign_folds(
        labeled, num_folds=config.folds, seed=config.seed
    )
    predicted = [
        PartPredictions(
            logits[np.newaxis],
            labeled.labels[rows].astype(np.int32),
            [labeled.keys[row] for row in rows],
            number,
            0,
        )
        for number, rows, logits in cross_validation.predict_out_of_fold(
            labeled, fold, c=chosen.value
        )
        if len(rows)
    ]
    head = fit_head(labeled.embeddings, labeled.labels, c=chosen.value)
    alone = int((fold == cross_validation.IN_EVERY_HEAD).sum())
    return Probe(head, OUT_OF_FOLD, predicted, _describe(labeled, chosen, alone))


def compare_names(
    class_embeddings: NDArray[np.float32], labeled: LabeledEmbeddings | None
) -> Probe:
    """Returns the head that compares images with embeddings [K,D] of class names.

    It has learned from none of the labeled images, if there are any.
    """
    head = zero_shot.make_head(class_embeddings)
    if labeled is None:
        line = f"logits are {zero_shot.SCALE:g} times the cosine, as CLIP's"
        return Probe(head, HELD_OUT, (), [f"{line}: --labeled would fit a temperature"])
    logits = head.logits(labeled.embeddings)[np.newaxis]
    labels = labeled.labels.astype(np.int32)
    part = PartPredictions(logits, labels, list(labeled.keys), None, 0)
    return Probe(head, HELD_OUT, [part], [])


def _describe(labeled: LabeledEmbeddings, chosen: ChosenC, alone: int) -> list[str]:
    loss = chosen.losses.get(chosen.value)
    why = f" ({chosen.reason})" if chosen.reason else ""
    lines = [
        f"{len(labeled.labels):,} labeled images, {labeled.embeddings.shape[1]:,} "
        f"features, C = {chosen.value:g}{why}"
        + (f", cross-entropy of unseen images {loss:.4f}" if loss is not None else "")
    ]
    if alone:
        lines.append(
            "not in the calibration, as each head needs them for their class: "
            f"{alone:,} of the images"
        )
    return lines
