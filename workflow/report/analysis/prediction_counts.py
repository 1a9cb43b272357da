"""Passes over all predictions of a round, for the report.

They read a few columns, a block of rows or a shard at a time, so that memory does not
grow with the corpus.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from etils import epath
from numpy.typing import NDArray

from pseudo_label.deduplication import near_duplicates
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.selection import what_if
from pseudo_label.selection.decision import COLUMNS, Selection, count_copies
from pseudo_label.selection.order_statistics import Rows
from pseudo_label.selection.tally import Tally
from stage import parquet

#: Bars of the histogram of all confidences.
NUM_BARS = 50


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabeledRound:
    """A round's predictions and the selection made of them.

    `predictions` is a directory, as is `selection_directory`, which also lists the
    dropped rows.
    """

    predictions: epath.Path
    num_shards: int
    selection_directory: epath.Path
    selection: Selection

    def path(self, index: int) -> epath.Path:
        """Returns the path of the predictions for an input shard."""
        return self.predictions / prediction_schema.shard_name(index)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictionCounts:
    """Counts of all predictions of a round.

    Attributes:
        images: Number of rows, including those without a prediction.
        predicted: int64 [K], images by predicted class.
        bars: int64 [NUM_BARS], images by confidence, in bars of equal width.
        reached: int64 [L], images at or above each of the levels.
        tally: Counts of the selection, without dropped rows.
    """

    images: int
    predicted: NDArray[np.int64]
    bars: NDArray[np.int64]
    reached: NDArray[np.int64]
    tally: Tally


@dataclasses.dataclass(frozen=True, kw_only=True)
class Churn:
    """Images for which the teachers of successive rounds predict different classes.

    Attributes:
        round: Round of the later teacher.
        images: Number of images with a prediction in both rounds.
        changed: Number of these whose predicted class differs.
        kept: Number of these that the earlier round kept.
        kept_changed: Number of kept ones whose predicted class differs.
    """

    round: int
    images: int
    changed: int
    kept: int
    kept_changed: int

    @property
    def changed_share(self) -> float:
        """Share of the images whose predicted class differs, in [0, 1]."""
        return self.changed / max(1, self.images)

    @property
    def kept_changed_share(self) -> float:
        """Share of the kept images whose predicted class differs, in [0, 1]."""
        return self.kept_changed / max(1, self.kept)


def count_predictions(
    labeled: LabeledRound, levels: NDArray[np.float32]
) -> PredictionCounts:
    """Counts all predictions in one pass.

    `levels` are confidences, float32 [L], ascending.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is broken, or a label is not below K.
    """
    selection = labeled.selection
    num_classes = len(selection.classes)
    tally = Tally.zero(selection.thresholds, what_if.levels(selection.settings))
    predicted = np.zeros(num_classes, np.int64)
    bars = np.zeros(NUM_BARS, np.int64)
    above = np.zeros(len(levels) + 1, np.int64)
    for label, confidence, dropped in _blocks(labeled):
        is_known = label >= 0
        known, known_confidence = label[is_known], confidence[is_known]
        predicted += np.bincount(known, minlength=num_classes)
        # The last bar includes a confidence of 1.
        bar = np.clip((known_confidence * NUM_BARS).astype(np.int64), 0, NUM_BARS - 1)
        bars += np.bincount(bar, minlength=NUM_BARS)
        reached = np.searchsorted(levels, known_confidence, side="right")
        above += np.bincount(reached, minlength=len(above))
        selectable = np.where(is_known, label, num_classes).astype(np.int32)
        selectable[dropped] = num_classes
        # The tally counts neither hashes nor positions.
        unused: NDArray[Any] = np.broadcast_to(np.uint64(0), label.shape)
        rows = Rows(selectable, confidence, unused, unused, unused)
        tally.count(rows)
    return PredictionCounts(
        images=tally.read,
        predicted=predicted,
        bars=bars,
        reached=np.cumsum(above[::-1])[::-1][1:],
        tally=tally,
    )


def compare_rounds(before: LabeledRound, after: LabeledRound, *, round: int) -> Churn:
    """Compares the predictions of two rounds image by image; `round` is the later one.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is broken, or the shards differ in length.
    """
    counts = dict.fromkeys(("images", "changed", "kept", "kept_changed"), 0)
    columns = _columns_to_decide(before.selection)
    for index in range(min(before.num_shards, after.num_shards)):
        rows = prediction_schema.read_table(before.path(index), columns)
        labels = prediction_schema.read_table(after.path(index), ["label"])
        if len(rows) != len(labels):
            raise ValueError(
                f"{after.path(index)}: expected {len(rows):,} images as in "
                f"{before.path(index)}, got {len(labels):,} images"
            )
        dropped = near_duplicates.read_dropped(
            before.selection_directory, index, selection=before.selection.fingerprint
        )
        with parquet.explaining(before.path(index)):
            is_kept = count_copies(rows, before.selection, dropped) > 0
        was, now = (table["label"].fill_null(-1).to_numpy() for table in (rows, labels))
        is_known = (was >= 0) & (now >= 0)
        is_changed = is_known & (was != now)
        counts["images"] += int(is_known.sum())
        counts["changed"] += int(is_changed.sum())
        counts["kept"] += int((is_kept & is_known).sum())
        counts["kept_changed"] += int((is_kept & is_changed).sum())
    return Churn(round=round, **counts)


def _blocks(
    labeled: LabeledRound,
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.int64]]]:
    """Yields labels (-1 without a prediction), confidences, indices of dropped rows."""
    for index in range(labeled.num_shards):
        for _, table, dropped in near_duplicates.read_blocks(
            labeled.path(index),
            ["label", "confidence"],
            labeled.selection_directory,
            index,
            selection=labeled.selection.fingerprint,
        ):
            label = table["label"].fill_null(-1).to_numpy()
            num_classes = len(labeled.selection.classes)
            if label.max(initial=-1) >= num_classes:
                raise ValueError(
                    f"{labeled.path(index)}: expected labels below {num_classes}, got "
                    f"{label.max()}"
                )
            yield label, table["confidence"].fill_null(0.0).to_numpy(), dropped


def _columns_to_decide(selection: Selection) -> Sequence[str]:
    """Returns the columns for `count_copies`: keys, which are long, only for ties."""
    has_ties = any(any(cut_offs.keys) for cut_offs in selection.cut_offs)
    return COLUMNS if has_ties else COLUMNS[:-1]
