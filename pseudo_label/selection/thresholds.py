"""Confidence thresholds, one for each class."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stage import typed_json
from stage.typed_json import Share

#: Threshold if there is no calibration.
DEFAULT_THRESHOLD = 0.5

FIXED = "fixed"
TARGET_PRECISION = "target_precision"
PER_CLASS = "per_class"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ThresholdConfig:
    """The thresholds, and the rule that they come from.

    Attributes:
        rule: `fixed`, `target_precision` or `per_class`.
        values: One threshold for all classes, or K thresholds, in [0, 1].
        target: Precision to reach, with the rule `target_precision`.
        adaptive: Whether classes with fewer confident images have lower thresholds.
    """

    rule: str
    values: tuple[float, ...]
    target: float | None = None
    adaptive: bool = False

    def __post_init__(self) -> None:
        for value in self.values:
            check_share("confidence_threshold", value)
        if self.target is not None:
            check_share("target_precision", self.target)

    def of_classes(self, num_classes: int) -> NDArray[np.float32]:
        """Returns the threshold of each class, float32 [K].

        The type is that of the confidences, so that a confidence of 0.9 reaches 0.9.
        """
        return np.broadcast_to(np.array(self.values, np.float32), num_classes).copy()


def check_share(name: str, value: float) -> None:
    """Raises ValueError unless the value is in [0, 1]; NaN is not."""
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} must be in [0, 1], got {value}")


def read_class_thresholds(
    path: str, class_names: Sequence[str], *, default: float | None
) -> tuple[float, ...]:
    """Returns the threshold of each class from a JSON file, {class name: threshold}.

    `default` is the threshold of classes that are not in the file.

    Raises:
        ValueError: If the file has another form, a name is unknown, a threshold is not
            in [0, 1], or a class has none.
    """
    content = typed_json.read(path, dict[str, Share])
    unknown = sorted(content.keys() - set(class_names))
    if unknown:
        name = typed_json.shorten(repr(unknown[0]))
        raise ValueError(
            f"{path}: unknown class {name} ({len(unknown)} of {len(content)})"
        )
    missing = [name for name in class_names if name not in content]
    if default is not None:
        content |= dict.fromkeys(missing, default)
    elif missing:
        raise ValueError(
            f"{path}: no threshold for {missing[0]!r} ({len(missing)} of "
            f"{len(class_names)} classes); add it, or give --confidence_threshold for "
            "classes that are not in the file"
        )
    return tuple(content[name] for name in class_names)


def adapt(
    thresholds: NDArray[np.float32], confident: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Returns thresholds float32 [K], lower for classes with fewer confident images.

    The rule is FlexMatch's (Zhang et al. 2021, section 3.2) with its convex mapping
    x / (2 - x). It lowers the thresholds of classes that are rare in the corpus as well
    as of those learned badly, to 0 for a class without a confident image. `confident`
    counts the images at or above `thresholds`.
    """
    learned = confident / max(1, confident.max())
    return (thresholds * (learned / (2.0 - learned))).astype(np.float32)
