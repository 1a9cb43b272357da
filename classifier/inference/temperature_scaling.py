"""Temperature scaling, and the calibration error it reduces.

All logits are divided by one temperature, fitted on images that the classifiers were
not trained on (Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv
1706.04599). The members of an ensemble share it: the mean of their probabilities is
what is calibrated.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

#: Minimum number of images to fit to. The fit is driven by misclassified images: 200
#: images at 90 % accuracy give 20, a standard error of about 20 %. With fewer, the
#: fitted temperature may be worse than 1.
MIN_IMAGES = 200
#: Range of the search. At its ends, all classes are equally likely, or one is certain.
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.1, 10.0
#: Decimals of a stored temperature.
_DECIMALS = 4
#: Grid points that bracket the maximum: an ensemble's likelihood may have several.
_GRID_SIZE = 41
#: Bins of the calibration error, as in the paper.
NUM_BINS = 15


@dataclasses.dataclass(frozen=True)
class LabeledLogits:
    """Logits of labeled images that the classifiers were not trained on.

    Attributes:
        logits: float32 [M,N,K] of M classifiers.
        labels: int32 [N] true classes.
    """

    logits: NDArray[np.float32]
    labels: NDArray[np.int32]


def fit_temperature(parts: Sequence[LabeledLogits]) -> tuple[float, str | None]:
    """Returns the most likely temperature, in 0.1..10, and None, or 1.0 and a reason.

    Different classifiers may have predicted each part.
    """
    count = sum(len(part.labels) for part in parts)
    if count < MIN_IMAGES:
        return 1.0, f"{count} images are too few to fit one, expected {MIN_IMAGES}"

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(parts, float(np.exp(log_temperature)))

    grid = np.linspace(np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE), _GRID_SIZE)
    best = int(np.argmin([loss(point) for point in grid]))
    if best in (0, len(grid) - 1):
        return 1.0, (
            f"the likelihood is highest at {np.exp(grid[best]):.1f} or beyond, "
            f"expected a maximum in {MIN_TEMPERATURE}..{MAX_TEMPERATURE}"
        )
    minimum = minimize_scalar(
        loss,
        bounds=(grid[best - 1], grid[best + 1]),
        method="bounded",
        options={"xatol": 10.0 ** -(_DECIMALS + 2)},
    )
    temperature = round(float(np.exp(minimum.x)), _DECIMALS)
    if negative_log_likelihood(parts, temperature) >= negative_log_likelihood(parts, 1):
        return 1.0, "no other temperature has a higher likelihood"
    return temperature, None


def negative_log_likelihood(
    parts: Sequence[LabeledLogits], temperature: float
) -> float:
    """Returns the mean negative log-probability of the labels over all images."""
    total, count = 0.0, 0
    for part in parts:
        scaled = part.logits.astype(np.float64) / temperature
        scaled -= scaled.max(axis=-1, keepdims=True)
        rows = np.arange(len(part.labels))
        logs = scaled[:, rows, part.labels] - np.log(np.exp(scaled).sum(axis=-1))
        # Averages the members' probabilities in log space, where they cannot underflow.
        mean = np.logaddexp.reduce(logs, axis=0) - np.log(len(logs))
        total -= float(mean.sum())
        count += len(mean)
    return total / count


def calibration_error(
    confidence: NDArray[np.float32], is_right: NDArray[np.bool_]
) -> float:
    """Returns the expected calibration error, in [0, 1], over equally wide bins.

    In each bin, the mean of `is_right` [N] is compared with that of `confidence` [N].
    """
    gaps = np.bincount(
        confidence_bins(confidence), is_right - confidence.astype(np.float64)
    )
    return float(np.abs(gaps).sum() / len(confidence))


def confidence_bins(confidence: NDArray[np.float32]) -> NDArray[np.int64]:
    """Returns the bin [N] of each confidence, in 0..14; its upper end is included."""
    bins = np.ceil(confidence.astype(np.float64) * NUM_BINS).astype(np.int64) - 1
    return np.clip(bins, 0, NUM_BINS - 1)
