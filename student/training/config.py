"""What a student's training has beyond a classifier's: the mixture."""

from __future__ import annotations

import dataclasses
from typing import Literal

from classifier.training.config import TrainConfig

TargetKind = Literal["hard", "soft", "sharpened"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixtureConfig:
    """How labeled and pseudo-labeled images share a batch.

    Attributes:
        labeled_fraction: Share of every batch that is labeled, in (0, 1).
        target_kind: `hard` takes the teacher's top class, smoothed like a label;
            `soft` its distribution; `sharpened` that distribution at `temperature`.
        temperature: Below 1 sharpens; used by `sharpened` alone.
    """

    labeled_fraction: float = 0.25
    target_kind: TargetKind = "sharpened"
    temperature: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 < self.labeled_fraction < 1.0:
            raise ValueError(
                "mixture.labeled_fraction must be in (0, 1), got "
                f"{self.labeled_fraction}"
            )
        if self.temperature <= 0.0:
            raise ValueError(
                f"mixture.temperature must be positive, got {self.temperature}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudentConfig(TrainConfig):
    """One student's training run.

    Attributes:
        mixture: How labeled and pseudo-labeled images share a batch.
    """

    mixture: MixtureConfig = MixtureConfig()

    @property
    def labeled_batch_size(self) -> int:
        """Labeled images of each batch, at least one."""
        share = self.global_batch_size * self.mixture.labeled_fraction
        return min(max(1, round(share)), self.global_batch_size - 1)

    @property
    def pseudo_labeled_batch_size(self) -> int:
        """Pseudo-labeled images of each batch."""
        return self.global_batch_size - self.labeled_batch_size
