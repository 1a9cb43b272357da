"""How many pseudo-labels are right, estimated from labeled images.

The images are those of `teacher.calibrate`: the teacher predicted them and has not
learned from them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from typing import Any

import numpy as np
import pyarrow as pa
from etils import epath
from numpy.typing import NDArray

from stage import parquet
from stage.calibration_files import CALIBRATION, CALIBRATION_ROWS

#: Standard deviations that hold 95 % of a normal distribution.
_Z = 1.959963984540054


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabeledPredictions:
    """Labeled images and what a teacher that has not seen them says, N of them.

    Attributes:
        fingerprint: Of the images' config.
        kind: `held_out` or `out_of_fold`.
        teachers: Fingerprints of the classifiers.
        temperature: Of the confidences.
        label: int32 [N] true classes.
        predicted: int32 [N].
        confidence: float32 [N] in [0, 1].
    """

    fingerprint: str
    kind: str
    teachers: tuple[str, ...]
    temperature: float
    label: NDArray[np.int32]
    predicted: NDArray[np.int32]
    confidence: NDArray[np.float32]

    @property
    def is_right(self) -> NDArray[np.bool_]:
        """Which predictions are right, bool [N]."""
        right: NDArray[np.bool_] = self.label == self.predicted
        return right


@dataclasses.dataclass(frozen=True, kw_only=True)
class Precision:
    """The share of labels that are right, estimated.

    Attributes:
        estimate: In [0, 1]; None without an image to tell.
        low: End of the 95 % Wilson interval.
        high: Its other end.
        images: Labeled images that would have been kept.
        right: Of them.
    """

    estimate: float | None
    low: float
    high: float
    images: int
    right: int

    @classmethod
    def of(cls, right: NDArray[np.bool_]) -> Precision:
        """Returns the precision of labels, bool [N] for those that are right."""
        images, correct = len(right), int(right.sum())
        low, high = wilson_interval(correct, images)
        estimate = correct / images if images else None
        return cls(estimate=estimate, low=low, high=high, images=images, right=correct)

    def __str__(self) -> str:
        if self.estimate is None:
            return "unknown"
        return (
            f"{self.estimate:.2%} ({self.low:.2%} to {self.high:.2%}, {self.images:,} "
            "labeled images)"
        )


def read_calibration(directory: epath.PathLike) -> LabeledPredictions:
    """Returns what `teacher.calibrate` has written.

    Raises:
        FileNotFoundError: If it is not there.
        ValueError: If it is empty.
    """
    path = epath.Path(directory)
    head = (path / CALIBRATION).read_bytes()
    rows = (path / CALIBRATION_ROWS).read_bytes()
    facts: dict[str, Any] = json.loads(head)
    table = parquet.read_parquet(pa.BufferReader(rows))
    if not table.num_rows:
        raise ValueError(f"{directory} holds no image")
    return LabeledPredictions(
        fingerprint=hashlib.sha256(head + rows).hexdigest(),
        kind=facts["kind"],
        teachers=tuple(facts["teachers"]),
        temperature=facts["temperature"],
        label=table["label"].to_numpy(),
        predicted=table["predicted"].to_numpy(),
        confidence=table["confidence"].to_numpy(),
    )


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Returns the 95 % score interval of a share (Wilson 1927); (0, 1) of no trial."""
    if not trials:
        return 0.0, 1.0
    share = successes / trials
    spread = _Z * math.sqrt(share * (1 - share) / trials + _Z**2 / (4 * trials**2))
    center = share + _Z**2 / (2 * trials)
    scale = 1 + _Z**2 / trials
    # Rounding must not put the share itself outside.
    low = min(share, (center - spread) / scale)
    high = max(share, (center + spread) / scale)
    return max(0.0, low), min(1.0, high)


def threshold_for(calibration: LabeledPredictions, target: float) -> float:
    """Returns the lowest threshold at which the precision reaches a target.

    Raises:
        ValueError: If none does, with the best there is.
    """
    thresholds, counts = np.unique(calibration.confidence, return_counts=True)
    place = np.searchsorted(thresholds, calibration.confidence)
    right = np.bincount(place, weights=calibration.is_right, minlength=len(thresholds))
    # Of all images at each confidence or above.
    precision = np.cumsum(right[::-1])[::-1] / np.cumsum(counts[::-1])[::-1]
    reached = np.flatnonzero(precision >= target)
    if not len(reached):
        best = int(precision.argmax())
        raise ValueError(
            f"no threshold reaches a precision of {target:.2%} on the "
            f"{len(calibration.label)} labeled images of the calibration: the best is "
            f"{precision[best]:.2%}, at {thresholds[best]:.4f}; lower "
            "--target_precision, or give --confidence_threshold"
        )
    return float(thresholds[reached[0]])


def precision_above(
    calibration: LabeledPredictions, thresholds: NDArray[np.float32]
) -> Precision:
    """Returns the precision of what stays at one threshold for each class [K]."""
    is_kept = calibration.confidence >= thresholds[calibration.predicted]
    return Precision.of(calibration.is_right[is_kept])
