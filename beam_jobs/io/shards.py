"""The shards of a source as a PCollection."""

from __future__ import annotations

import apache_beam as beam

from stage.parts import WHOLE, Part

#: Shards per element of the graph.
_SHARDS_PER_ELEMENT = 1000


class Shards(beam.PTransform):
    """Makes a PCollection of shard numbers, spread over the workers.

    It holds those of a part of the job. The graph has ranges of numbers, to stay below
    the size limits of services.
    """

    def __init__(self, num_shards: int, part: Part = WHOLE) -> None:
        super().__init__()
        self._shards = part.take(num_shards)

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection[int]:
        """Returns a PCollection of int."""
        shards, size = self._shards, _SHARDS_PER_ELEMENT
        return (
            begin
            | beam.Create(list(range(0, len(shards), size)))
            | beam.FlatMap(lambda start: shards[start : start + size])
            | beam.Reshuffle()
        )
