"""What other settings would keep: a table over thresholds and images per class."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pseudo_label.selection import precision as selection_precision
from pseudo_label.selection.decision import SelectionConfig
from pseudo_label.selection.order_statistics import HistogramBins
from pseudo_label.selection.precision import LabeledPredictions, Precision
from pseudo_label.selection.tally import Tally, count_records, count_unique

#: Thresholds that are always in the table.
THRESHOLDS = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
#: Of the images per class that were asked for.
_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """What one pair of settings would keep.

    Attributes:
        confidence_threshold: Of all classes.
        images_per_class: Records each class shall have.
        records: Images kept, copies counted.
        unique: Images kept.
        copies: Records beyond the first of an image.
        empty_classes: Classes without an image.
        precision: Estimated, of the images kept; None where nothing tells.
    """

    confidence_threshold: float
    images_per_class: int
    records: int
    unique: int
    copies: int
    empty_classes: int
    precision: Precision | None


def levels(config: SelectionConfig) -> NDArray[np.float32]:
    """Returns the thresholds of the table, float32 [L], the selection's among them."""
    own = config.thresholds.values if len(config.thresholds.values) == 1 else ()
    return np.unique(np.array([*THRESHOLDS, *own], np.float32))


def make_table(
    tally: Tally, config: SelectionConfig, calibration: LabeledPredictions | None
) -> tuple[Cell, ...]:
    """Returns the cells, by threshold, then by images per class.

    Counts are exact. The precision is that of the labeled images that the same
    settings would keep; where a class's quota cuts is known to a bin of the histogram.

    Args:
        tally: Of the whole corpus, with `levels(config)`.
        config: What was asked for.
        calibration: Labeled images; None where there are none.
    """
    above = np.cumsum(tally.reached[:-1, ::-1], axis=1)[:, ::-1]
    quotas = sorted({max(1, round(f * config.images_per_class)) for f in _FACTORS})
    totals = np.cumsum(tally.histogram[:-1], axis=1)
    cuts = {quota: _quota_cuts(totals, tally.bins, quota) for quota in quotas}
    cells = []
    for index, threshold in enumerate(levels(config)):
        for quota in quotas:
            asked = dataclasses.replace(config, images_per_class=quota)
            unique = count_unique(above[:, index + 1], asked)
            records = int(count_records(unique, asked).sum())
            cells.append(
                Cell(
                    confidence_threshold=float(threshold),
                    images_per_class=quota,
                    records=records,
                    unique=int(unique.sum()),
                    copies=records - int(unique.sum()),
                    empty_classes=int((unique == 0).sum()),
                    precision=None
                    if calibration is None
                    else selection_precision.precision_above(
                        calibration, np.maximum(cuts[quota], threshold)
                    ),
                )
            )
    return tuple(cells)


def to_json(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Returns what `from_json` understands."""
    return [dataclasses.asdict(cell) for cell in cells]


def from_json(content: Sequence[dict[str, Any]]) -> tuple[Cell, ...]:
    """Returns the cells that `to_json` was given."""
    return tuple(
        Cell(
            **{
                **cell,
                "precision": cell["precision"] and Precision(**cell["precision"]),
            }
        )
        for cell in content
    )


def tell(cells: Sequence[Cell]) -> Iterator[str]:
    """Yields the table as lines."""
    yield (
        f"{'threshold':>10}{'per class':>12}{'records':>14}{'unique':>14}"
        f"{'copies':>14}{'empty':>8}  precision"
    )
    for cell in cells:
        precision = "" if cell.precision is None else str(cell.precision)
        yield (
            f"{cell.confidence_threshold:>10.4g}{cell.images_per_class:>12,}"
            f"{cell.records:>14,}{cell.unique:>14,}{cell.copies:>14,}"
            f"{cell.empty_classes:>8,}  {precision}"
        )


def _quota_cuts(
    totals: NDArray[np.int64], bins: HistogramBins, quota: int
) -> NDArray[np.float32]:
    """Returns the confidence, float32 [K], that a quota leaves nothing below of."""
    is_cut = totals[:, -1] >= quota
    reached = np.minimum((totals < quota).sum(axis=1), totals.shape[1] - 1)
    lowest = bins.lowest_confidence(np.arange(len(totals)), reached)
    return np.where(is_cut, lowest, np.float32(0.0))
