"""Which predictions become pseudo-labels, and how often: exactly the best of a class.

All predictions of a class stand in one total order: confidence, highest first, then
the key's hash, then the key. The best `images_per_class` at or above the class's
threshold are kept. A class with fewer is filled up with copies, as many of each image
as of any other, or one more for the first of them. So two places in the order per
class say everything, and any worker can decide about any row alone. How the places
are found is in `ranking`.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pseudo_label.selection.decision import (
    Alarm,
    ClassRule,
    Dropped,
    Funnel,
    SelectionConfig,
)
from pseudo_label.selection.order_statistics import Bins, Place, Rows

#: Share of the images that would fill a class, with copies, below which it is named.
NEARLY_EMPTY = 0.1
_NO_LEVELS = np.empty(0, np.float32)
_NO_LOCK = contextlib.nullcontext()


@dataclasses.dataclass
class Tally:
    """Counts of predictions; those of parts add up.

    Behind the K classes comes another one, of rows that cannot be selected.

    Attributes:
        bins: What is counted into, of K + 1 classes with thresholds `with_nothing`.
        levels: float32 [L] confidences, ascending.
        read: Rows seen.
        undecodable: Of them, rows without a prediction.
        histogram: int64 [K + 1, bins.count] of the confidence of all.
        reached: int64 [K + 1, L + 1] of all by how many of the levels they reach.
    """

    bins: Bins
    levels: NDArray[np.float32]
    read: int
    undecodable: int
    histogram: NDArray[np.int64]
    reached: NDArray[np.int64]

    @classmethod
    def zero(
        cls,
        thresholds: NDArray[np.float32],
        levels: NDArray[np.float32] = _NO_LEVELS,
    ) -> Tally:
        """Returns the counts of nothing."""
        bins = Bins(thresholds)
        return cls(
            bins=bins,
            levels=levels,
            read=0,
            undecodable=0,
            histogram=np.zeros((len(thresholds), bins.count), np.int64),
            reached=np.zeros((len(thresholds), len(levels) + 1), np.int64),
        )

    @property
    def confident(self) -> NDArray[np.int64]:
        """Returns how many reach the threshold of their class, int64 [K + 1]."""
        is_confident = np.arange(self.bins.count) < self.bins.confident[:, None]
        return self.histogram.sum(axis=1, where=is_confident)

    def count(
        self,
        rows: Rows,
        unpredicted: int = 0,
        lock: AbstractContextManager[Any] = _NO_LOCK,
    ) -> None:
        """Counts rows.

        Args:
            rows: Of one shard; their hashes are not looked at. Those that cannot be
                selected have the label K.
            unpredicted: How many of them have no prediction.
            lock: Held only while counts change, where threads count into the same.
        """
        cells = self.bins.cells(rows.label, rows.confidence)
        reached = self._reached_cells(rows)
        with lock:
            self.read += len(rows.label)
            self.undecodable += unpredicted
            np.add.at(self.histogram.reshape(-1), cells, 1)
            np.add.at(self.reached.reshape(-1), reached, 1)

    def __add__(self, other: Tally) -> Tally:
        return dataclasses.replace(
            self,
            read=self.read + other.read,
            undecodable=self.undecodable + other.undecodable,
            histogram=self.histogram + other.histogram,
            reached=self.reached + other.reached,
        )

    def _reached_cells(self, rows: Rows) -> NDArray[np.int64]:
        if not len(self.levels):
            return np.empty(0, np.int64)
        reached = np.searchsorted(self.levels, rows.confidence, side="right")
        return np.multiply(rows.label, len(self.levels) + 1, dtype=np.int64) + reached


def with_nothing(thresholds: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns thresholds float32 [K + 1]: none reaches that of what is not selected."""
    return np.append(thresholds, np.float32(np.inf)).astype(np.float32)


def count_unique(
    confident: NDArray[np.int64], config: SelectionConfig
) -> NDArray[np.int64]:
    """Returns how many images of each class are kept, int64 [K]."""
    unique: NDArray[np.int64] = np.minimum(confident, config.images_per_class)
    return unique


def count_records(
    unique: NDArray[np.int64], config: SelectionConfig
) -> NDArray[np.int64]:
    """Returns how many records they make, copies counted, int64 [K]."""
    records: NDArray[np.int64] = np.minimum(
        unique * config.max_copies, config.images_per_class
    )
    return records


def wanted_ranks(
    confident: NDArray[np.int64], config: SelectionConfig
) -> NDArray[np.int64]:
    """Returns the ranks that decide, int64 [K, ranking.NUM_RANKS].

    They count from 1; 0 is none.
    The first is that of the last image kept, the second that of the last one which is
    written once more than the others.
    """
    unique = count_unique(confident, config)
    extra = count_records(unique, config) % np.maximum(unique, 1)
    return np.stack([unique, extra], axis=1)


def make_rules(
    tally: Tally,
    places: Sequence[Sequence[Place | None]],
    config: SelectionConfig,
    *,
    class_names: Sequence[str],
    thresholds: NDArray[np.float32],
) -> tuple[ClassRule, ...]:
    """Returns the rule of each class.

    Args:
        tally: Of the whole corpus.
        places: Of the ranks of `wanted_ranks`, [K][ranking.NUM_RANKS].
        config: What to keep.
        class_names: K names by label.
        thresholds: float32 [K].
    """
    confident = tally.confident
    unique = count_unique(confident, config)
    records = count_records(unique, config)
    return tuple(
        ClassRule(
            name=name,
            threshold=float(thresholds[label]),
            confident=int(confident[label]),
            unique=int(unique[label]),
            records=int(records[label]),
            cut_off=places[label][0],
            copies=int(records[label] // max(1, unique[label])),
            extra_cut_off=places[label][1],
        )
        for label, name in enumerate(class_names)
    )


def make_funnel(tally: Tally, dropped: Dropped, rules: Iterable[ClassRule]) -> Funnel:
    """Returns where the images went."""
    rules = tuple(rules)
    confident = sum(rule.confident for rule in rules)
    unique = sum(rule.unique for rule in rules)
    records = sum(rule.records for rule in rules)
    lost = tally.undecodable + dropped.leaked + dropped.duplicate
    return Funnel(
        read=tally.read,
        undecodable=tally.undecodable,
        leaked=dropped.leaked,
        duplicate=dropped.duplicate,
        below_threshold=tally.read - lost - confident,
        beyond_quota=confident - unique,
        unique_kept=unique,
        copies=records - unique,
        records=records,
    )


def find_alarms(
    tally: Tally, rules: Sequence[ClassRule], config: SelectionConfig
) -> tuple[Alarm, ...]:
    """Returns the classes that have less than a tenth of what would fill them."""
    fills = config.fills_a_class
    alarms = []
    for label, rule in enumerate(rules):
        if rule.unique > 0 and rule.unique >= NEARLY_EMPTY * fills:
            continue
        total = np.cumsum(tally.histogram[label])
        filling = None
        if total[-1] >= fills:
            reached = np.searchsorted(total, [fills])
            filling = float(tally.bins.lowest_confidence(np.array([label]), reached)[0])
        alarms.append(
            Alarm(
                name=rule.name,
                predicted=int(total[-1]),
                kept=rule.unique,
                fills=fills,
                filling_threshold=filling,
            )
        )
    return tuple(alarms)
