"""A student's recipe: a classifier's, and the mixture of its batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Literal

from classifier.training.config import TrainConfig, refuse_consistency
from stage.overrides import paths_of
from stage.validation import check, check_positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixtureConfig:
    """How labeled and pseudo-labeled images share a batch.

    Attributes:
        labeled_fraction: Share of labeled images in every batch, in (0, 1).
        target_kind: Target of a pseudo-labeled image. `hard` is the teacher's top
            class, smoothed like a label; `soft` is its distribution; `sharpened` is
            that distribution at `temperature`.
        temperature: Temperature of `sharpened`, positive; below 1 sharpens.
    """

    labeled_fraction: float = 0.25
    target_kind: Literal["hard", "soft", "sharpened"] = "sharpened"
    temperature: float = 0.5

    def __post_init__(self) -> None:
        check(
            0.0 < self.labeled_fraction < 1.0,
            f"mixture.labeled_fraction must be in (0, 1), got {self.labeled_fraction}",
        )
        check_positive("mixture.temperature", self.temperature)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudentConfig(TrainConfig):
    """The recipe of a student's training run."""

    mixture: MixtureConfig = MixtureConfig()

    @property
    def labeled_batch_size(self) -> int:
        """Number of labeled images in each batch, as many in each part of it.

        At least one of a part, and never all.
        """
        of_part = self.global_batch_size // self.batch_parts
        share = of_part * self.mixture.labeled_fraction
        return self.batch_parts * min(max(1, round(share)), of_part - 1)

    @property
    def pseudo_labeled_batch_size(self) -> int:
        """Number of pseudo-labeled images in each batch, at least one."""
        return self.global_batch_size - self.labeled_batch_size


def check_assignments(config: StudentConfig, assignments: Iterable[str]) -> None:
    """Raises ValueError if `--set=` gives settings that have no effect on a student.

    `assignments` are those of the user, which are part of the recipe.
    """
    refuse_consistency(assignments, "a student learns from pseudo-labels")
    kind = config.mixture.target_kind
    check(
        kind == "sharpened" or "mixture.temperature" not in paths_of(assignments),
        f"mixture.temperature needs mixture.target_kind=sharpened, got {kind}",
    )
