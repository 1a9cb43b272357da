"""Shards as work for Beam."""

from __future__ import annotations

import apache_beam as beam

#: Numbers that one element of the graph stands for.
_AT_ONCE = 1000


class Shards(beam.PTransform):
    """A PCollection of the numbers of shards, spread over the workers.

    The graph stays small, however many they are: services limit it.
    """

    def __init__(self, num_shards: int) -> None:
        super().__init__()
        self._num_shards = num_shards

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection[int]:
        """Returns a PCollection of int."""
        end = self._num_shards
        return (
            begin
            | beam.Create(list(range(0, end, _AT_ONCE)))
            | beam.FlatMap(lambda start: range(start, min(start + _AT_ONCE, end)))
            | beam.Reshuffle()
        )
