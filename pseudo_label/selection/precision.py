"""Precision of pseudo-labels (the share that is right), estimated on labeled images.

The images are those of `teacher.calibrate`: the teacher was not trained on them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math

import numpy as np
import pyarrow as pa
from etils import epath
from numpy.typing import NDArray

from stage import parquet
from stage.calibration_files import CALIBRATION, CALIBRATION_ROWS

#: The 0.975 quantile of the normal distribution, for intervals of 95 %.
_Z = 1.959963984540054


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabeledPredictions:
    """Predictions for N labeled images that the classifiers were not trained on.

    Attributes:
        kind: `held_out` or `out_of_fold`; `test` for an evaluation set.
        label: int32 [N], true classes.
        predicted: int32 [N], predicted classes.
        confidence: float32 [N] in [0, 1].
        fingerprint: SHA-256 of the files that they were read from.
    """

    kind: str
    label: NDArray[np.int32]
    predicted: NDArray[np.int32]
    confidence: NDArray[np.float32]
    fingerprint: str = ""

    @property
    def is_right(self) -> NDArray[np.bool_]:
        """Whether each prediction is right, bool [N]."""
        right: NDArray[np.bool_] = self.label == self.predicted
        return right


@dataclasses.dataclass(frozen=True, kw_only=True)
class Precision:
    """An estimate of the share of labels that are right.

    Attributes:
        estimate: Share in [0, 1]; None without images.
        low: Lower end of the 95 % Wilson interval.
        high: Upper end.
        images: Labeled images that the selection would keep.
        right: Images among them whose label is right.
    """

    estimate: float | None
    low: float
    high: float
    images: int
    right: int

    @classmethod
    def of(cls, right: NDArray[np.bool_]) -> Precision:
        """Returns the precision of labels, given whether each is right, bool [N]."""
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
    """Returns the predictions that `teacher.calibrate` has written.

    Raises:
        FileNotFoundError: If there are none.
        ValueError: If there is no image.
    """
    path = epath.Path(directory)
    head = (path / CALIBRATION).read_bytes()
    rows = (path / CALIBRATION_ROWS).read_bytes()
    table = parquet.read_parquet(pa.BufferReader(rows))
    if not table.num_rows:
        raise ValueError(f"{directory} holds no image")
    return LabeledPredictions(
        kind=json.loads(head)["kind"],
        label=table["label"].to_numpy(),
        predicted=table["predicted"].to_numpy(),
        confidence=table["confidence"].to_numpy(),
        fingerprint=hashlib.sha256(head + rows).hexdigest(),
    )


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Returns the 95 % score interval of a share (Wilson 1927); (0, 1) for no trial.

    `scipy.stats` has it too, but takes a second to import, and rounds differently from
    the intervals in existing files.
    """
    if not trials:
        return 0.0, 1.0
    share = successes / trials
    spread = _Z * math.sqrt(share * (1 - share) / trials + _Z**2 / (4 * trials**2))
    center = share + _Z**2 / (2 * trials)
    scale = 1 + _Z**2 / trials
    # Rounding must not put the share itself outside the interval.
    low = min(share, (center - spread) / scale)
    high = max(share, (center + spread) / scale)
    return max(0.0, low), min(1.0, high)


def threshold_for(calibration: LabeledPredictions, target: float) -> float:
    """Returns the lowest threshold that reaches a precision, or raises ValueError."""
    thresholds, index, counts = np.unique(
        calibration.confidence, return_inverse=True, return_counts=True
    )
    right = np.bincount(index, weights=calibration.is_right, minlength=len(thresholds))
    # Precision of all images at each threshold or above.
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
    """Returns the precision of labels at or above their class's threshold [K]."""
    is_kept = calibration.confidence >= thresholds[calibration.predicted]
    return Precision.of(calibration.is_right[is_kept])
