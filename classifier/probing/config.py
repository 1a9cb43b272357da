"""Settings of a probe."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from stage.validation import check, check_positive

#: Beginning of the settings of the fit, beside those of the network.
PREFIX = "probe."
#: Bounds of C: squares of weights of this variance are numbers of float32.
_C_BOUNDS = 1e-18, 1e18


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """How a head is fitted to embeddings, see `cross_validation`.

    Attributes:
        smallest_c: Lowest C tried, the variance of the Gaussian prior of a weight:
            scikit-learn's inverse strength of regularization.
        largest_c: Highest C tried. If it equals the lowest, there is no search.
        default_c: C that the search begins at, and that is taken if there are no two
            different images of any class to search with.
        folds: Parts of the images for cross-validation and out-of-fold predictions.
        max_search_images: Maximum number of images that C is searched with. Of this
            and the next there are more if they do not give each class a few.
        max_input_images: Maximum number of images that the input is chosen with, see
            `input_choice`.
        seed: Seed of the parts.
    """

    smallest_c: float = 1e-6
    largest_c: float = 1e3
    default_c: float = 1e-2
    folds: int = 5
    max_search_images: int = 5_000
    max_input_images: int = 1_000
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("smallest_c", "default_c", "largest_c"):
            low, high = _C_BOUNDS
            check(
                low <= getattr(self, name) <= high,
                f"{name} must be from {low:g} to {high:g}, got {getattr(self, name)}",
            )
        check(
            self.smallest_c <= self.largest_c,
            f"smallest_c must not exceed largest_c, got {self.smallest_c} and "
            f"{self.largest_c}",
        )
        check(self.folds >= 2, f"folds must be at least 2, got {self.folds}")
        check_positive("max_search_images", self.max_search_images)
        check_positive("max_input_images", self.max_input_images)


def split_settings(assignments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the settings of the fit, without the prefix, and those of the network."""
    fit = [text.removeprefix(PREFIX) for text in assignments if _is_of_fit(text)]
    return fit, [text for text in assignments if not _is_of_fit(text)]


def _is_of_fit(assignment: str) -> bool:
    return assignment.startswith(PREFIX)
