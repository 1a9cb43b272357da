"""What other settings would keep: a table over thresholds and images per class."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from etils import epath
from numpy.typing import NDArray

from pseudo_label.selection.decision import SelectionConfig
from pseudo_label.selection.order_statistics import HistogramBins
from pseudo_label.selection.precision import (
    LabeledPredictions,
    Precision,
    precision_above,
)
from pseudo_label.selection.tally import Tally, count_kept
from stage import artifact, typed_json
from stage.typed_json import Count, Share

_FILE = "what_if.json"
#: Thresholds that are always in the table.
_THRESHOLDS = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
#: Multiples of the selection's images per class that are in the table.
_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WhatIfCell:
    """The result of one pair of settings.

    Attributes:
        confidence_threshold: Threshold of all classes.
        images_per_class: Records wanted of each class.
        records: Records written, copies included.
        unique: Images kept.
        copies: Records beyond the first of each image.
        empty_classes: Classes without an image.
        precision: Estimated precision of the images kept; None without labeled images.
    """

    confidence_threshold: Share
    images_per_class: Count
    records: Count
    unique: Count
    copies: Count
    empty_classes: Count
    precision: Precision | None


def levels(config: SelectionConfig) -> NDArray[np.float32]:
    """Returns the thresholds of the table, float32 [L], including the selection's."""
    own = config.thresholds.values if len(config.thresholds.values) == 1 else ()
    return np.unique(np.array([*_THRESHOLDS, *own], np.float32))


def make_table(
    tally: Tally, config: SelectionConfig, calibration: LabeledPredictions | None
) -> tuple[WhatIfCell, ...]:
    """Returns the cells, by threshold, then by images per class.

    Counts are exact. The precision is that of the labeled images at least as confident
    as the last image kept of their class, rounded down to the end of its bin. The tally
    is that of the whole corpus, with the levels `levels(config)`.
    """
    reaching = np.cumsum(tally.reached[:-1, ::-1], axis=1)[:, ::-1]
    cumulative = np.cumsum(tally.histogram[:-1], axis=1)
    quotas = sorted({max(1, round(f * config.images_per_class)) for f in _FACTORS})
    cells = []
    for index, threshold in enumerate(levels(config)):
        for quota in quotas:
            settings = dataclasses.replace(config, images_per_class=quota)
            unique, records = count_kept(reaching[:, index + 1], settings)
            num_unique, num_records = int(unique.sum()), int(records.sum())
            precision = None
            if calibration is not None:
                last = _lowest_kept(cumulative, tally.bins, unique)
                lowest = np.maximum(last, threshold)
                precision = precision_above(calibration, lowest)
            cells.append(
                WhatIfCell(
                    confidence_threshold=float(threshold),
                    images_per_class=quota,
                    records=num_records,
                    unique=num_unique,
                    copies=num_records - num_unique,
                    empty_classes=int((unique == 0).sum()),
                    precision=precision,
                )
            )
    return tuple(cells)


def write_table(directory: epath.PathLike, cells: Sequence[WhatIfCell]) -> None:
    """Writes `what_if.json` in the directory of the selection."""
    content = [dataclasses.asdict(cell) for cell in cells]
    artifact.write_json(epath.Path(directory) / _FILE, content)


def read_table(directory: epath.PathLike) -> tuple[WhatIfCell, ...] | None:
    """Returns the cells that `write_table` wrote; None if there is no file."""
    path = epath.Path(directory) / _FILE
    if not path.exists():
        return None
    return typed_json.read(path, tuple[WhatIfCell, ...])


def format_table(cells: Sequence[WhatIfCell], config: SelectionConfig) -> Iterator[str]:
    """Yields the table as lines; that of the selection's own settings is marked."""
    has_precision = any(cell.precision is not None for cell in cells)
    yield (
        f"{'threshold':>10}{'per class':>12}{'records':>14}{'unique':>14}"
        f"{'copies':>14}{'empty':>8}{'  precision' if has_precision else ''}"
    )
    for cell in cells:
        precision = "" if cell.precision is None else f"  {cell.precision}"
        chosen = "  chosen" if is_chosen(cell, config) else ""
        yield (
            f"{cell.confidence_threshold:>10.4g}{cell.images_per_class:>12,}"
            f"{cell.records:>14,}{cell.unique:>14,}{cell.copies:>14,}"
            f"{cell.empty_classes:>8,}{precision}{chosen}"
        )


def is_chosen(cell: WhatIfCell, config: SelectionConfig) -> bool:
    """Whether a cell has the settings of the selection; none if classes differ."""
    rule = config.thresholds
    if len(rule.values) > 1 or rule.adaptive:
        return False
    own = (np.float32(rule.values[0]), config.images_per_class)
    return own == (np.float32(cell.confidence_threshold), cell.images_per_class)


def _lowest_kept(
    cumulative: NDArray[np.int64], bins: HistogramBins, unique: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Returns the lowest confidence kept of each class, float32 [K]; infinite if none.

    `unique` are the numbers of images kept, int64 [K].
    """
    found = (cumulative < unique[:, None]).sum(axis=1)
    lowest = bins.lowest_confidence(np.arange(len(cumulative)), found)
    return np.where(unique > 0, lowest, np.float32(np.inf))
