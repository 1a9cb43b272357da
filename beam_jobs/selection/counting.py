"""Passes over predictions that count them or collect a few of them.

A worker counts all shards of a bundle into the same arrays, which Beam adds up, so the
shuffled bytes do not depend on the number of predictions.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import operator
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsSingleton
from apache_beam.transforms.window import GlobalWindows
from etils import epath
from numpy.typing import NDArray

from beam_jobs.io import filesystems
from pseudo_label.deduplication import near_duplicates
from pseudo_label.predictions.prediction_set import PredictionSet
from pseudo_label.selection import order_statistics
from pseudo_label.selection.order_statistics import RankWindows, Rows
from pseudo_label.selection.tally import Tally

#: Threads of a process, one shard each: most of the work releases Python's lock.
NUM_THREADS = 2
#: Maximum number of shards in work or waiting for a thread.
_MAX_PENDING = 2 * NUM_THREADS


@dataclasses.dataclass(frozen=True)
class PredictionReader:
    """Reads the columns of a shard that a selection depends on.

    Attributes:
        predictions: Predictions of K classes.
        dropped_in: Output directory of `dropping.drop`; None if no row is dropped.
    """

    predictions: PredictionSet
    dropped_in: str | None

    def read(self, index: int, columns: Sequence[str]) -> Iterator[Rows]:
        """Yields the rows of a shard in blocks.

        Rows without prediction and dropped rows get class K, whose threshold no row
        reaches, so that all rows are treated the same way. Labels and confidences out
        of range raise ValueError.
        """
        path = self.predictions.path(index)
        num_classes = len(self.predictions.class_names)
        blocks = near_duplicates.read_blocks(path, columns, self.dropped_in, index)
        for first, table, dropped in blocks:
            label = table["label"].fill_null(0).to_numpy()
            _check("label", label, np.int32(num_classes - 1), first, path)
            confidence = table["confidence"].fill_null(0.0).to_numpy()
            _check("confidence", confidence, np.float32(1.0), first, path)
            label = table["label"].fill_null(num_classes).to_numpy()
            if len(dropped):
                label = label.copy()
                label[dropped] = num_classes
            key_hash = np.broadcast_to(np.uint64(0), label.shape)
            if "key_hash" in columns:
                key_hash = table["key_hash"].to_numpy()
            yield Rows(
                label=label,
                confidence=confidence,
                key_hash=key_hash,
                shard=np.broadcast_to(np.int32(index), label.shape),
                row=np.arange(first, first + len(label), dtype=np.int32),
            )


def _check(
    name: str, values: NDArray[Any], highest: Any, first: int, path: epath.Path
) -> None:
    # As uint32, the bits of negative numbers and NaN are above those of valid numbers.
    bits, highest_bits = (array.view(np.uint32) for array in (values, highest))
    if bits.max(initial=0) > highest_bits:
        bad = int((bits > highest_bits).argmax())
        raise ValueError(
            f"{path}, row {first + bad}: expected a {name} in 0..{int(highest)}, got "
            f"{values[bad]}"
        )


@beam.ptransform_fn  # type: ignore[untyped-decorator]
def count(
    shards: beam.PCollection,
    reader: PredictionReader,
    thresholds: Any,
    dropped: Any,
    levels: Any = (),
) -> beam.PCollection:
    """Returns one `Tally` of all shards.

    Args:
        shards: Numbers of the shards.
        reader: Reader of the predictions.
        thresholds: float32 [K], or a side input of them.
        dropped: Output of `dropping.drop` as a side input, which is available when the
            dropped rows are written; else anything.
        levels: float32 [L] of `Tally.levels`.
    """
    counting = _Count(reader, np.asarray(levels, np.float32))
    return (
        shards
        | "Count" >> beam.ParDo(counting, thresholds, dropped)
        | "Add" >> beam.CombineGlobally(_Add()).without_defaults()
    )


@beam.ptransform_fn  # type: ignore[untyped-decorator]
def find_windows(
    shards: beam.PCollection, reader: PredictionReader, windows: beam.PCollection
) -> beam.PCollection:
    """Returns the one element of `windows`, `RankWindows`, narrowed if it is wide."""
    histogram = (
        shards
        | "Count inside" >> beam.ParDo(_CountInside(reader), AsSingleton(windows))
        | "Add inside" >> beam.CombineGlobally(_Add())
    )
    return windows | "Narrow" >> beam.Map(_narrow, AsSingleton(histogram))


@beam.ptransform_fn  # type: ignore[untyped-decorator]
def take_rows(
    shards: beam.PCollection, reader: PredictionReader, windows: beam.PCollection
) -> beam.PCollection:
    """Returns one list of all `Rows` inside of the windows."""
    return (
        shards
        | "Take inside" >> beam.ParDo(_TakeInside(reader), AsSingleton(windows))
        | "Collect" >> beam.combiners.ToList()
    )


class _Pass(beam.DoFn):
    """Adds up the shards of a bundle on several threads; yields the total, if any.

    Subclasses define the columns to read, the total, and how rows are added to it.
    """

    columns: Sequence[str] = ("label", "confidence", "key_hash")

    def __init__(self, reader: PredictionReader) -> None:
        self._reader = reader

    def make_total(self, *side_inputs: Any) -> Any:
        """Returns a total of no shards; None if there is nothing to add up."""
        raise NotImplementedError

    def add(self, total: Any, rows: Rows, *side_inputs: Any) -> None:
        """Adds rows of a shard to the total, which several threads may share."""
        raise NotImplementedError

    def setup(self) -> None:
        filesystems.register()
        self._pool = ThreadPoolExecutor(NUM_THREADS)
        self._lock = threading.Lock()

    def teardown(self) -> None:
        self._pool.shutdown()

    def start_bundle(self) -> None:
        self._total: Any = None
        self._pending: collections.deque[Future[None]] = collections.deque()

    def process(self, index: int, *side_inputs: Any) -> None:
        """Starts to add a shard to the total; waits if too many are pending."""
        if self._total is None:
            self._total = self.make_total(*side_inputs)
        if self._total is None:
            return
        if len(self._pending) >= _MAX_PENDING:
            self._pending.popleft().result()
        shard = self._pool.submit(self._add_shard, index, self._total, side_inputs)
        self._pending.append(shard)

    def finish_bundle(self) -> Iterator[Any]:
        for shard in self._pending:
            shard.result()
        if self._total is not None:
            yield GlobalWindows.windowed_value(self._total)

    def _add_shard(self, index: int, total: Any, side_inputs: Sequence[Any]) -> None:
        for rows in self._reader.read(index, self.columns):
            self.add(total, rows, *side_inputs)


class _Count(_Pass):
    """Counts shards into a tally, once the files of dropped rows are written."""

    columns = ("label", "confidence")

    def __init__(self, reader: PredictionReader, levels: NDArray[np.float32]) -> None:
        super().__init__(reader)
        self._levels = levels

    def make_total(self, thresholds: NDArray[np.float32], dropped: Any) -> Tally:
        return Tally.zero(thresholds, self._levels)

    def add(self, total: Any, rows: Rows, *_: Any) -> None:
        total.count(rows, self._lock)


class _CountInside(_Pass):
    """Counts the digits inside of windows into a histogram, if windows are wide."""

    def make_total(self, windows: RankWindows) -> NDArray[np.int64] | None:
        if not windows.are_wide:
            return None
        return np.zeros((*windows.ranks.shape, windows.num_digits), np.int64)

    def add(self, total: Any, rows: Rows, windows: RankWindows) -> None:
        cells = order_statistics.digit_index(rows, windows)
        with self._lock:
            np.add.at(total.reshape(-1), cells, 1)


class _TakeInside(_Pass):
    """Collects the rows inside of windows."""

    def make_total(self, windows: RankWindows) -> list[Rows]:
        return []

    def add(self, total: Any, rows: Rows, windows: RankWindows) -> None:
        total.append(order_statistics.take_inside(rows, windows))

    def finish_bundle(self) -> Iterator[Any]:
        for parts in super().finish_bundle():
            yield parts.with_value(Rows.concatenate(parts.value))


class _Add(beam.CombineFn):
    """Adds elements with `+`; returns None if there are none."""

    def create_accumulator(self) -> Any:
        return None

    def add_input(self, accumulator: Any, part: Any) -> Any:
        return part if accumulator is None else accumulator + part

    def merge_accumulators(self, accumulators: Iterable[Any]) -> Any:
        parts = [part for part in accumulators if part is not None]
        return functools.reduce(operator.add, parts) if parts else None

    def extract_output(self, accumulator: Any) -> Any:
        return accumulator


def _narrow(windows: RankWindows, histogram: NDArray[np.int64] | None) -> RankWindows:
    return windows if histogram is None else order_statistics.narrow(windows, histogram)
