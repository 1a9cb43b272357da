"""Passes over predictions that count them, or take a few of them out.

A worker counts all shards of a bundle into the same arrays, which then are added up:
what travels does not depend on how many predictions there are.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import operator
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.prediction_set import shard_path
from pseudo_label.selection import order_statistics
from pseudo_label.selection.decision import Dropped
from pseudo_label.selection.order_statistics import RankWindows, Rows
from pseudo_label.selection.tally import Tally

#: Of a process, on a thread each: most of the work is done outside of Python.
SHARDS_AT_ONCE = 2
#: Those that wait for a thread among them.
_SHARDS_UNDER_WAY = 2 * SHARDS_AT_ONCE
_COUNTED = ("label", "confidence")
_RANKED = ("label", "confidence", "key_hash")


@dataclasses.dataclass(frozen=True)
class Reader:
    """Reads what selecting looks at of a shard.

    Attributes:
        directory: Of the predictions.
        num_classes: K.
        dropped_in: Directory that `dropping.drop` wrote to; None where nothing is
            dropped.
    """

    directory: str
    num_classes: int
    dropped_in: str | None

    def read(self, index: int, columns: Sequence[str]) -> Iterator[tuple[int, Rows]]:
        """Yields the blocks of a shard: how many rows have no prediction, and all rows.

        Rows that have none, or were dropped, are of class K, behind the others, of
        which none is ever confident: so all rows are treated alike.

        Raises:
            ValueError: If a label or a confidence cannot be.
        """
        path = shard_path(self.directory, index)
        gone = np.empty(0, np.int64)
        if self.dropped_in is not None:
            gone = near_duplicates.read_dropped(self.dropped_in, index)
        first = 0
        for table in prediction_schema.read_rows(path, columns):
            label = table["label"].fill_null(0).to_numpy()
            _check("label", label, np.int32(self.num_classes - 1), first, path)
            confidence = table["confidence"].fill_null(0.0).to_numpy()
            _check("confidence", confidence, np.float32(1.0), first, path)
            label = table["label"].fill_null(self.num_classes).to_numpy()
            end = first + len(label)
            dropped = gone[slice(*np.searchsorted(gone, [first, end]))] - first
            if len(dropped):
                label = label.copy()
                label[dropped] = self.num_classes
            rows = Rows(
                label=label,
                confidence=confidence,
                key_hash=table["key_hash"].to_numpy()
                if "key_hash" in columns
                else np.broadcast_to(np.uint64(0), label.shape),
                shard=np.broadcast_to(np.int32(index), label.shape),
                row=np.arange(first, end, dtype=np.int32),
            )
            yield table["label"].null_count, rows
            first = end


def _check(
    name: str, values: NDArray[Any], highest: Any, first: int, path: epath.Path
) -> None:
    # The bits of what is negative or NaN are above those of all that may be.
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
    reader: Reader,
    thresholds: Any,
    dropped: Any,
    levels: Any = (),
) -> beam.PCollection:
    """Returns one `Tally`, of all shards.

    Args:
        shards: Their numbers.
        reader: Reads them.
        thresholds: float32 [K + 1] of `append_unselectable`, as a side input.
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
    """Returns the one `RankWindows`, narrower where it was too wide."""
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
    """Goes through the shards of a bundle, some at once; yields their total, if any."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def setup(self) -> None:
        filesystems.register()
        self._pool = ThreadPoolExecutor(SHARDS_AT_ONCE)

    def teardown(self) -> None:
        self._pool.shutdown()

    def start_bundle(self) -> None:
        self._total: Any = None
        self._lock = threading.Lock()
        self._under_way: collections.deque[Future[None]] = collections.deque()

    def finish_bundle(self) -> Iterator[Any]:
        for shard in self._under_way:
            shard.result()
        if self._total is not None:
            yield GlobalWindows.windowed_value(self._total)

    def _begin(self, go_through: Callable[..., None], *arguments: Any) -> None:
        """Begins with a shard; waits while there are others enough to do."""
        if len(self._under_way) >= _SHARDS_UNDER_WAY:
            self._under_way.popleft().result()
        self._under_way.append(self._pool.submit(go_through, *arguments))


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
            self._total = Tally.zero(thresholds, self._levels)
        self._begin(self._count, index, self._total, self._lock)

    def _count(self, index: int, tally: Tally, lock: threading.Lock) -> None:
        for unpredicted, rows in self._reader.read(index, _COUNTED):
            tally.count(rows, unpredicted, lock)


class _CountInside(_Pass):
    """Its total is the histogram inside of windows, if they are wide."""

    def process(self, index: int, windows: RankWindows) -> None:
        """Counts one shard."""
        if not windows.are_wide:
            return
        if self._total is None:
            self._total = np.zeros((*windows.ranks.shape, windows.num_digits), np.int64)
        self._begin(self._count_inside, index, windows, self._total, self._lock)

    def _count_inside(
        self,
        index: int,
        windows: RankWindows,
        histogram: NDArray[np.int64],
        lock: threading.Lock,
    ) -> None:
        for _, rows in self._reader.read(index, _RANKED):
            cells = order_statistics.digit_index(rows, windows)
            with lock:
                np.add.at(histogram.reshape(-1), cells, 1)


class _TakeInside(_Pass):
    """Its total are the rows that are in some window."""

    def process(self, index: int, windows: RankWindows) -> None:
        """Looks at one shard."""
        if self._total is None:
            self._total = []
        self._begin(self._take_inside, index, windows, self._total)

    def _take_inside(self, index: int, windows: RankWindows, taken: list[Rows]) -> None:
        for _, rows in self._reader.read(index, _RANKED):
            taken.append(order_statistics.take_inside(rows, windows))

    def finish_bundle(self) -> Iterator[Any]:
        for parts in super().finish_bundle():
            yield parts.with_value(Rows.concatenate(parts.value))


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


def _narrow(windows: RankWindows, histogram: NDArray[np.int64] | None) -> RankWindows:
    return windows if histogram is None else order_statistics.narrow(windows, histogram)
