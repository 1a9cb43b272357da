"""The shards of a source as a PCollection."""

from __future__ import annotations

import apache_beam as beam

#: Shards per element of the graph.
_SHARDS_PER_ELEMENT = 1000


class Shards(beam.PTransform):
    """Makes a PCollection of shard numbers, spread over the workers.

    The graph holds ranges of numbers to stay below the size limits of services.
    """

    def __init__(self, num_shards: int) -> None:
        super().__init__()
        self._num_shards = num_shards

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection[int]:
        """Returns a PCollection of int."""
        end = self._num_shards
        return (
            begin
            | beam.Create(list(range(0, end, _SHARDS_PER_ELEMENT)))
            | beam.FlatMap(
                lambda start: range(start, min(start + _SHARDS_PER_ELEMENT, end))
            )
            | beam.Reshuffle()
        )
