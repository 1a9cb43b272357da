"""Sources as work for Beam."""

from __future__ import annotations

import apache_beam as beam

from classifier.sources import Shard, Source


class Shards(beam.PTransform):
    """A PCollection of the shards of a source, spread over the workers."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._shards = list(source.shards)

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection[Shard]:
        """Returns a PCollection of `Shard`."""
        return begin | beam.Create(self._shards) | beam.Reshuffle()
