"""Calibration: probabilities that are right as often as they say.

Temperature scaling divides all logits by one number that is fitted on images which
the classifiers have not learned from. Source: Guo et al. 2017, "On Calibration of
Modern Neural Networks", arXiv 1706.04599; here the members of an ensemble share the
number, and the mean of their probabilities is what is to be right.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from etils import epath
from numpy.typing import NDArray

from stage import artifact

CALIBRATION = "calibration.json"
#: A row for every image that was predicted.
ROWS = "calibration.parquet"
SCHEMA_VERSION = 1
#: How the images were kept from the classifiers that predict them.
HELD_OUT = "held_out"
OUT_OF_FOLD = "out_of_fold"

#: Mistakes decide the temperature: of so many images, nine in ten of them right, there
#: are 20, which tell it to about a fifth. Fewer may make it worse than 1.
MIN_IMAGES = 200
#: Where it is looked for; beyond, all classes are as likely, or one is certain.
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.1, 10.0
#: Decimals that are kept; no set of images tells more.
_DECIMALS = 4
#: Temperatures tried before the search closes in: an ensemble's likelihood may have
#: more than one peak.
_NUM_TRIED = 41
#: Of the calibration error, as in the paper.
_NUM_BINS = 15


@dataclasses.dataclass(frozen=True)
class Judged:
    """What some classifiers say about images they have not learned from.

    Attributes:
        logits: float32 [M,N,K] of M classifiers, the mean of whose probabilities
            counts.
        labels: [N] true classes.
    """

    logits: NDArray[np.float32]
    labels: NDArray[np.int32]


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The part of `calibration.json` that others act upon.

    Attributes:
        teachers: Fingerprints of the classifiers, in order.
        kind: `held_out` or `out_of_fold`.
        temperature: That their logits are to be divided by.
    """

    teachers: tuple[str, ...]
    kind: str
    temperature: float


def read(directory: epath.PathLike, *, teachers: Sequence[str]) -> Calibration:
    """Returns the calibration of some classifiers.

    Args:
        directory: What `teacher.calibrate` has made.
        teachers: Fingerprints of the classifiers that it shall be of.

    Raises:
        FileNotFoundError: If it is not there.
        ValueError: If it is not complete, is no calibration, or of others.
    """
    path = artifact.require_complete(directory, "calibration") / CALIBRATION
    if not path.exists():
        raise ValueError(f"{directory} is no calibration: no {CALIBRATION} in it")
    found = artifact.read_json(path)
    if found["schema_version"] != SCHEMA_VERSION:
        raise ValueError(
            f"{path}: expected schema_version {SCHEMA_VERSION}, got "
            f"{found['schema_version']}"
        )
    if found["teachers"] != list(teachers):
        raise ValueError(
            f"{directory} is of other teachers, or of these in another order: "
            f"expected {_short(teachers)}, got {_short(found['teachers'])}"
        )
    return Calibration(tuple(teachers), found["kind"], float(found["temperature"]))


def fit_temperature(parts: Sequence[Judged]) -> tuple[float, str | None]:
    """Returns the temperature of the highest likelihood, or 1.0 and why.

    Args:
        parts: Images that different classifiers may have predicted.

    Returns:
        The temperature, in 0.1..10, and None; or 1.0 and the reason in words.
    """
    count = sum(len(part.labels) for part in parts)
    if count < MIN_IMAGES:
        return 1.0, f"{count} images are too few to fit one, expected {MIN_IMAGES}"

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(parts, float(np.exp(log_temperature)))

    tried = np.linspace(np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE), _NUM_TRIED)
    best = int(np.argmin([loss(one) for one in tried]))
    if best in (0, len(tried) - 1):
        return 1.0, (
            f"the likelihood is highest at {np.exp(tried[best]):.1f} or beyond: the "
            "images do not tell it"
        )
    found = minimize(loss, tried[best - 1], tried[best + 1])
    temperature = round(float(np.exp(found)), _DECIMALS)
    after = negative_log_likelihood(parts, temperature)
    if after >= negative_log_likelihood(parts, 1.0):
        return 1.0, "no other temperature has a higher likelihood"
    return temperature, None


def minimize(loss: Callable[[float], float], low: float, high: float) -> float:
    """Returns where a function with one valley is lowest, by golden-section search.

    Args:
        loss: The function.
        low: Where to look from.
        high: And up to.
    """
    ratio = (np.sqrt(5) - 1) / 2
    inner = [high - ratio * (high - low), low + ratio * (high - low)]
    losses = [loss(one) for one in inner]
    while high - low > 10.0 ** -(_DECIMALS + 1):
        if losses[0] <= losses[1]:
            high = inner[1]
            inner = [high - ratio * (high - low), inner[0]]
            losses = [loss(inner[0]), losses[0]]
        else:
            low = inner[0]
            inner = [inner[1], low + ratio * (high - low)]
            losses = [losses[1], loss(inner[1])]
    return float(low + high) / 2


def negative_log_likelihood(parts: Sequence[Judged], temperature: float) -> float:
    """Returns the mean over all images of minus the log of the label's probability."""
    total, count = 0.0, 0
    for part in parts:
        scaled = part.logits.astype(np.float64) / temperature
        scaled -= scaled.max(axis=-1, keepdims=True)
        rows = np.arange(len(part.labels))
        logs = scaled[:, rows, part.labels] - np.log(np.exp(scaled).sum(axis=-1))
        # The mean of the members' probabilities, as logs: it may be too small else.
        mean = np.logaddexp.reduce(logs, axis=0) - np.log(len(logs))
        total -= float(mean.sum())
        count += len(mean)
    return total / count


def calibration_error(
    confidence: NDArray[np.float32], is_right: NDArray[np.bool_]
) -> float:
    """Returns the expected calibration error, in [0, 1], of equally wide bins.

    In each the share of images that are right is compared with their mean confidence.

    Args:
        confidence: [N] probability of the top class, in (0, 1].
        is_right: [N] whether that is the image's label.
    """
    # Bins are open below and closed above.
    bins = np.ceil(confidence.astype(np.float64) * _NUM_BINS).astype(int) - 1
    gaps = np.bincount(
        np.clip(bins, 0, _NUM_BINS - 1), is_right - confidence.astype(np.float64)
    )
    return float(np.abs(gaps).sum() / len(confidence))


def _short(fingerprints: Sequence[Any]) -> str:
    return ", ".join(str(one)[:8] for one in fingerprints)
