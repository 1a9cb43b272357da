"""Precision of pseudo-labels (the share that is right), estimated on labeled images.

The images are those of `teacher.calibrate`: the teacher was not trained on them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math

import numpy as np
import pyarrow as pa
from etils import epath
from numpy.typing import NDArray

from stage import parquet, typed_json
from stage.calibration_files import CALIBRATION, CALIBRATION_ROWS
from stage.typed_json import Count, Share

#: Sums of rounded probabilities may be a little above 1.
MAX_CONFIDENCE = 1.001
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

    def check_classes(self, num_classes: int) -> None:
        """Raises ValueError if there is a class outside of 0..num_classes-1."""
        highest = max(self.label.max(initial=0), self.predicted.max(initial=0))
        if highest >= num_classes:
            raise ValueError(
                f"expected labeled images of {num_classes} classes, got one of class "
                f"{highest}; calibrate these teachers"
            )

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

    estimate: Share | None
    low: Share
    high: Share
    images: Count
    right: Count

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Facts:
    """What is read of `calibration.json`.

    Attributes:
        kind: `held_out` or `out_of_fold`.
        rows: SHA-256 of `calibration.parquet`; empty in earlier versions.
    """

    kind: str
    rows: str = ""


def read_calibration(directory: epath.PathLike) -> LabeledPredictions:
    """Returns the predictions that `teacher.calibrate` has written.

    Raises:
        FileNotFoundError: If there are none.
        ValueError: If there is no image, or a file is broken.
    """
    path = epath.Path(directory)
    head = typed_json.read_bytes(path / CALIBRATION)
    rows = (path / CALIBRATION_ROWS).read_bytes()
    table = parquet.read_parquet_file(path / CALIBRATION_ROWS, _SCHEMA.names)
    if not table.num_rows:
        raise ValueError(f"{directory} holds no image")
    _check_rows(table, path / CALIBRATION_ROWS)
    facts = typed_json.parse(head, _Facts, str(path / CALIBRATION))
    if facts.rows not in ("", hashlib.sha256(rows).hexdigest()):
        raise ValueError(
            f"{path / CALIBRATION_ROWS} is not the file that {CALIBRATION} was made "
            "with; calibrate again into another directory"
        )
    return LabeledPredictions(
        kind=facts.kind,
        label=table["label"].to_numpy(),
        predicted=table["predicted"].to_numpy(),
        confidence=table["confidence"].to_numpy(),
        fingerprint=hashlib.sha256(head + rows).hexdigest(),
    )


#: Columns of `calibration.parquet` that are read.
_SCHEMA = pa.schema(
    [("label", pa.int32()), ("predicted", pa.int32()), ("confidence", pa.float32())]
)


def _check_rows(table: pa.Table, path: epath.Path) -> None:
    if not table.schema.equals(_SCHEMA, check_metadata=False):
        raise ValueError(
            f"{path}: expected the columns {_SCHEMA.names} of int32, int32 and "
            f"float32, got {[str(field.type) for field in table.schema]}"
        )
    for name in table.column_names:
        values = table[name]
        if values.null_count or not np.all(values.to_numpy() >= 0):
            raise ValueError(f"{path}: expected a {name} of 0 or more in every row")
    if not np.all(table["confidence"].to_numpy() <= MAX_CONFIDENCE):
        raise ValueError(f"{path}: expected every confidence in [0, 1]")


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
    calibration.check_classes(len(thresholds))
    is_kept = calibration.confidence >= thresholds[calibration.predicted]
    return Precision.of(calibration.is_right[is_kept])
