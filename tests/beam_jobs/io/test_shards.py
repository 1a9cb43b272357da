import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from beam_jobs.io import shards
from stage.parts import Part


@pytest.mark.parametrize("count", [0, 1, 3, 4, 10])
def test_each_shard_is_in_the_collection_once(monkeypatch, count):
    monkeypatch.setattr(shards, "_SHARDS_PER_ELEMENT", 3)
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        found = pipeline | shards.Shards(count)
        assert_that(found, equal_to(list(range(count))))


def test_the_graph_stays_small_with_many_shards():
    pipeline = beam.Pipeline()
    _ = pipeline | shards.Shards(1_000_000)
    graph = pipeline.to_runner_api()
    assert graph.ByteSize() < 100_000


def test_a_part_has_every_nth_shard(monkeypatch):
    monkeypatch.setattr(shards, "_SHARDS_PER_ELEMENT", 2)
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        found = pipeline | shards.Shards(10, Part(1, 3))
        assert_that(found, equal_to([1, 4, 7]))
