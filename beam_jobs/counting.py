"""Passes over predictions that count them, or take a few of them out.

A worker counts all shards of a bundle into the same arrays, which then are added up:
what travels does not depend on how many predictions there are.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import AsSingleton
from apache_beam.transforms.window import GlobalWindows
from numpy.typing import NDArray

from beam_jobs import filesystems
from beam_jobs.ahead import ahead
from beam_jobs.prediction_set import PredictionSet
from pseudo_label import duplicates, prediction, ranking
from pseudo_label.ranking import Rows, Windows
from pseudo_label.select import Dropped, Tally

_COUNTED = ("label", "confidence")
_RANKED = ("label", "confidence", "key_hash")


@dataclasses.dataclass(frozen=True)
class Reader:
    """Reads what selecting looks at of a shard.

    Attributes:
        predictions: Where the shards are.
        dropped_in: Directory that `dropping.drop` wrote to; None where nothing is
            dropped.
    """

    predictions: PredictionSet
    dropped_in: str | None

    def read(self, index: int, columns: Sequence[str]) -> Iterator[tuple[int, Rows]]:
        """Yields the blocks of a shard: how many rows have no prediction, and all rows.

        Rows that have none, or were dropped, are of class K, behind the others, of
        which none is ever confident: so all rows are treated alike.

        Raises:
            ValueError: If a label or a confidence cannot be.
        """
        path = self.predictions.path(index)
        nothing = len(self.predictions.class_names)
        gone = np.empty(0, np.int64)
        if self.dropped_in is not None:
            gone = duplicates.read_dropped(self.dropped_in, index)
        first = 0
        for table in ahead(prediction.read_rows(path, columns)):
            _check(table, nothing, first, path)
            label = table["label"].fill_null(nothing).to_numpy()
            end = first + len(label)
            dropped = gone[slice(*np.searchsorted(gone, [first, end]))] - first
            if len(dropped):
                label = label.copy()
                label[dropped] = nothing
            rows = Rows(
                label=label,
                confidence=table["confidence"].fill_null(0.0).to_numpy(),
                key_hash=table["key_hash"].to_numpy()
                if "key_hash" in columns
                else np.broadcast_to(np.uint64(0), label.shape),
                shard=np.broadcast_to(np.int32(index), label.shape),
                row=np.arange(first, end, dtype=np.int32),
            )
            yield table["label"].null_count, rows
            first = end


def _check(table: pa.Table, num_classes: int, first: int, path: Any) -> None:
    for name, highest in (("label", num_classes - 1), ("confidence", 1)):
        values = table[name].fill_null(0).to_numpy()
        # NaN comes out of min and max, and compares as false.
        if len(values) and not (values.min() >= 0 and values.max() <= highest):
            bad = int((~((values >= 0) & (values <= highest))).argmax())
            raise ValueError(
                f"{path}, row {first + bad}: expected a {name} in 0..{highest}, got "
                f"{values[bad]}"
            )


@beam.ptransform_fn  # type: ignore[untyped-decorator]
def count(
    shards: beam.PCollection,
    reader: Reader,
    thresholds: Any,
    dropped: Any,
    levels: Any = (),
) -> beam.PCollection:
    """Returns one `Tally`, of all shards.

    Args:
        shards: Their numbers.
        reader: Reads them.
        thresholds: float32 [K + 1] of `select.with_nothing`, as a side input.
        dropped: A side input that is there when what is dropped has been written.
        levels: float32 [L] of `Tally.levels`.
    """
    counted = beam.ParDo(
        _Count(reader, np.asarray(levels, np.float32)), thresholds, dropped
    )
    return (
        shards
        | "Count" >> counted
        | "Add" >> beam.CombineGlobally(_Add()).without_defaults()
    )


@beam.ptransform_fn  # type: ignore[untyped-decorator]
def find_windows(
    shards: beam.PCollection, reader: Reader, windows: beam.PCollection
) -> beam.PCollection:
    """Returns the one `Windows`, narrower where it was too wide."""
    histogram = (
        shards
        | "Count inside" >> beam.ParDo(_CountInside(reader), AsSingleton(windows))
        | "Add inside" >> beam.CombineGlobally(_Add())
    )
    return windows | "Narrow" >> beam.Map(_narrow, AsSingleton(histogram))


@beam.ptransform_fn  # type: ignore[untyped-decorator]
def take_rows(
    shards: beam.PCollection, reader: Reader, windows: beam.PCollection
) -> beam.PCollection:
    """Returns one list of `Rows`, those inside of the windows."""
    return (
        shards
        | "Take inside" >> beam.ParDo(_TakeInside(reader), AsSingleton(windows))
        | "Collect" >> beam.combiners.ToList()
    )


class _Pass(beam.DoFn):
    """Goes through the shards of a bundle; yields its total, if any, at the end."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def setup(self) -> None:
        filesystems.register()

    def start_bundle(self) -> None:
        self._total: Any = None

    def finish_bundle(self) -> Iterator[Any]:
        if self._total is not None:
            yield GlobalWindows.windowed_value(self._total)


class _Count(_Pass):
    """Its total is the tally."""

    def __init__(self, reader: Reader, levels: NDArray[np.float32]) -> None:
        super().__init__(reader)
        self._levels = levels

    def process(
        self, index: int, thresholds: NDArray[np.float32], dropped: Dropped
    ) -> None:
        """Counts one shard; `dropped` tells that what is dropped has been written."""
        if self._total is None:
            self._total = Tally.zero(len(thresholds) - 1, len(self._levels))
        for unpredicted, rows in self._reader.read(index, _COUNTED):
            self._total.read += len(rows.label)
            self._total.undecodable += unpredicted
            self._total.count(rows, thresholds, self._levels)


class _CountInside(_Pass):
    """Its total is the histogram inside of windows, if they are wide."""

    def process(self, index: int, windows: Windows) -> None:
        """Counts one shard."""
        if not windows.are_wide:
            return
        if self._total is None:
            self._total = np.zeros((*windows.rank.shape, windows.bins), np.int64)
        for _, rows in self._reader.read(index, _RANKED):
            ranking.count_inside(self._total, rows, windows)


class _TakeInside(_Pass):
    """Yields the rows of each shard that are in some window; has no total."""

    def process(self, index: int, windows: Windows) -> Iterator[Rows]:
        """Looks at one shard."""
        blocks = self._reader.read(index, _RANKED)
        inside = [ranking.take_inside(rows, windows) for _, rows in blocks]
        yield Rows.concatenate(inside)


class _Add(beam.CombineFn):
    """Adds up what knows how to be added; None for nothing."""

    def create_accumulator(self) -> Any:
        return None

    def add_input(self, accumulator: Any, part: Any) -> Any:
        return part if accumulator is None else accumulator + part

    def merge_accumulators(self, accumulators: Iterable[Any]) -> Any:
        parts = [part for part in accumulators if part is not None]
        return functools.reduce(operator.add, parts) if parts else None

    def extract_output(self, accumulator: Any) -> Any:
        return accumulator


def _narrow(windows: Windows, histogram: NDArray[np.int64] | None) -> Windows:
    return windows if histogram is None else ranking.narrow(windows, histogram)
