"""Counts over all predictions, and the selection's rules that follow from them.

A class keeps its best `images_per_class` predictions at or above its threshold. A class
with fewer is filled with copies, the same number of each image or one more of the
first. Two order statistics per class therefore hold the whole decision
(`order_statistics` finds them), and any worker can decide about any row alone
(`decision`).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pseudo_label.deduplication.near_duplicates import (
    DUPLICATE,
    LEAKED,
    DroppedCounts,
)
from pseudo_label.selection.decision import (
    ClassRule,
    Funnel,
    SelectionConfig,
    SparseClass,
)
from pseudo_label.selection.order_statistics import HistogramBins, OrderStatistic, Rows

#: Share of the images that fill a class, with copies, below which the class is sparse.
_SPARSE_SHARE = 0.1
_NO_LEVELS = np.empty(0, np.float32)
_NO_LOCK = contextlib.nullcontext()


@dataclasses.dataclass
class Tally:
    """Counts of predictions; tallies of parts of the corpus add up.

    Class K, after the K classes, holds the rows that cannot be selected.

    Attributes:
        bins: Bins of K + 1 classes; no row reaches the threshold of class K.
        levels: float32 [L] thresholds of other settings, ascending (see `what_if`).
        histogram: int64 [K + 1, bins.num_bins], rows by confidence.
        reached: int64 [K + 1, L + 1], rows by the number of levels they reach.
    """

    bins: HistogramBins
    levels: NDArray[np.float32]
    histogram: NDArray[np.int64]
    reached: NDArray[np.int64]

    @classmethod
    def zero(
        cls,
        thresholds: NDArray[np.float32],
        levels: NDArray[np.float32] = _NO_LEVELS,
    ) -> Tally:
        """Returns a tally of no rows for thresholds float32 [K]."""
        bins = HistogramBins(np.append(thresholds, np.float32(np.inf)))
        return cls(
            bins=bins,
            levels=levels,
            histogram=np.zeros((len(thresholds) + 1, bins.num_bins), np.int64),
            reached=np.zeros((len(thresholds) + 1, len(levels) + 1), np.int64),
        )

    @property
    def confident(self) -> NDArray[np.int64]:
        """Rows that reach the threshold of their class, int64 [K + 1]."""
        is_confident = np.arange(self.bins.num_bins) < self.bins.num_confident[:, None]
        return self.histogram.sum(axis=1, where=is_confident)

    @property
    def read(self) -> int:
        """Rows counted."""
        return int(self.histogram.sum())

    def count(self, rows: Rows, lock: AbstractContextManager[Any] = _NO_LOCK) -> None:
        """Counts rows, of label K if they cannot be selected; hashes are not used.

        The lock is held while counts change, for threads that share the tally.
        """
        index = self.bins.index(rows.label, rows.confidence)
        reached = self._reached_index(rows)
        with lock:
            np.add.at(self.histogram.reshape(-1), index, 1)
            np.add.at(self.reached.reshape(-1), reached, 1)

    def __add__(self, other: Tally) -> Tally:
        return dataclasses.replace(
            self,
            histogram=self.histogram + other.histogram,
            reached=self.reached + other.reached,
        )

    def _reached_index(self, rows: Rows) -> NDArray[np.int64]:
        if not len(self.levels):
            return np.empty(0, np.int64)
        reached = np.searchsorted(self.levels, rows.confidence, side="right")
        return np.multiply(rows.label, len(self.levels) + 1, dtype=np.int64) + reached


def count_kept(
    confident: NDArray[np.int64], config: SelectionConfig
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the images kept of each class and their records, int64 [K] each."""
    unique = np.minimum(confident, config.images_per_class)
    return unique, np.minimum(unique * config.max_copies, config.images_per_class)


def wanted_ranks(
    confident: NDArray[np.int64], config: SelectionConfig
) -> NDArray[np.int64]:
    """Returns the ranks that decide, from 1, int64 [K, NUM_RANKS]; 0 for none.

    The first rank is that of the last image kept, the second that of the last image
    written once more than the others.
    """
    unique, records = count_kept(confident, config)
    return np.stack([unique, records % np.maximum(unique, 1)], axis=1)


def make_rules(
    tally: Tally,
    statistics: Sequence[Sequence[OrderStatistic | None]],
    config: SelectionConfig,
    class_names: Sequence[str],
) -> tuple[ClassRule, ...]:
    """Returns the rule of each class.

    Args:
        tally: Counts of the whole corpus.
        statistics: Order statistics of `wanted_ranks`, [K][NUM_RANKS].
        config: Settings of the selection.
        class_names: K names by label.
    """
    confident = tally.confident
    unique, records = count_kept(confident, config)
    return tuple(
        ClassRule(
            name=name,
            threshold=float(tally.bins.thresholds[label]),
            confident=int(confident[label]),
            unique=int(unique[label]),
            records=int(records[label]),
            cut_off=statistics[label][0],
            copies=int(records[label] // max(1, unique[label])),
            extra_cut_off=statistics[label][1],
        )
        for label, name in enumerate(class_names)
    )


def make_funnel(
    tally: Tally, dropped: DroppedCounts, rules: Sequence[ClassRule]
) -> Funnel:
    """Returns the number of images lost at each step."""
    confident = sum(rule.confident for rule in rules)
    unique = sum(rule.unique for rule in rules)
    records = sum(rule.records for rule in rules)
    unselectable = int(tally.histogram[-1].sum())
    reasons: Counter[str] = Counter()
    for (reason, _), count in dropped.items():
        reasons[reason] += count
    return Funnel(
        read=tally.read,
        undecodable=unselectable - dropped.total(),
        leaked=reasons[LEAKED],
        duplicate=reasons[DUPLICATE],
        below_threshold=tally.read - unselectable - confident,
        beyond_quota=confident - unique,
        unique_kept=unique,
        copies=records - unique,
        records=records,
    )


def find_sparse_classes(
    tally: Tally,
    dropped: DroppedCounts,
    rules: Sequence[ClassRule],
    config: SelectionConfig,
) -> tuple[SparseClass, ...]:
    """Returns the classes with less than a tenth of the images that would fill them."""
    fills = config.images_to_fill_class
    sparse_classes = []
    for label, rule in enumerate(rules):
        if rule.unique > 0 and rule.unique >= _SPARSE_SHARE * fills:
            continue
        cumulative = np.cumsum(tally.histogram[label])
        lost = sum(dropped[reason, label] for reason in (LEAKED, DUPLICATE))
        filling = None
        if cumulative[-1] >= fills:
            bin_ = np.searchsorted(cumulative, [fills])
            filling = float(tally.bins.lowest_confidence(np.array([label]), bin_)[0])
        sparse_classes.append(
            SparseClass(
                name=rule.name,
                predicted=int(cumulative[-1]) + lost,
                dropped=lost,
                kept=rule.unique,
                fills=fills,
                filling_threshold=filling,
            )
        )
    return tuple(sparse_classes)
