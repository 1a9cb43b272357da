"""Passes over files, held against NumPy on all rows at once."""

import dataclasses

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from etils import epath

from beam_jobs.selection import counting
from pseudo_label.deduplication import near_duplicates
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.prediction_set import open_predictions
from pseudo_label.selection.tally import Tally
from tests import chain

CLASSES = len(chain.CLASS_NAMES)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return chain.make(tmp_path_factory.mktemp("chain"), num_shards=7, per_shard=6)


@pytest.fixture
def reader(place):
    return counting.PredictionReader(open_predictions(place.predictions), None)


def columns(reader, names=("label", "confidence")):
    """The rows of all shards, joined."""
    parts = [rows for shard in range(7) for rows in reader.read(shard, names)]
    return {
        field: np.concatenate([getattr(part, field) for part in parts])
        for field in ("label", "confidence", "key_hash", "shard", "row")
    }


def test_reads_the_columns_of_a_shard(place, reader):
    found = columns(reader, ("label", "confidence", "key_hash"))
    paths = [
        f"{place.predictions}/{prediction_schema.shard_name(shard)}"
        for shard in range(7)
    ]
    tables = [pq.read_table(path) for path in paths]
    labels = [label for table in tables for label in table["label"].to_pylist()]
    assert None in labels
    expected = [CLASSES if label is None else label for label in labels]
    assert found["label"].tolist() == expected
    assert found["key_hash"].tolist() == [
        value for table in tables for value in table["key_hash"].to_pylist()
    ]
    assert found["shard"].tolist() == sorted([*range(7)] * 6)
    assert found["row"].tolist() == [*range(6)] * 7


def test_dropped_rows_have_the_class_behind_all_others(place, reader, tmp_path):
    path = near_duplicates.dropped_path(tmp_path, 2)
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table({"record_index": pa.array([1, 4], pa.int64())}), path)
    dropping = dataclasses.replace(reader, dropped_in=str(tmp_path))
    before, after = columns(reader)["label"], columns(dropping)["label"]
    expected = before.copy()
    expected[[2 * 6 + 1, 2 * 6 + 4]] = CLASSES
    assert after.tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("label", CLASSES),
        ("label", -1),
        ("confidence", np.nextafter(np.float32(1), np.float32(2))),
        ("confidence", -0.5),
        ("confidence", float("nan")),
    ],
)
def test_a_value_out_of_range_is_an_error(reader, place, tmp_path, column, value):
    source = epath.Path(place.predictions) / prediction_schema.shard_name(3)
    table = pq.read_table(str(source))
    values = table[column].to_pylist()
    values[2] = value
    at = table.schema.get_field_index(column)
    table = table.set_column(at, column, pa.array(values, table[column].type))
    pq.write_table(table, tmp_path / source.name)
    moved = dataclasses.replace(reader.predictions, directory=str(tmp_path))
    broken = dataclasses.replace(reader, predictions=moved)
    with pytest.raises(ValueError, match=rf"{source.name}, row 2: .*{column}"):
        list(broken.read(3, ("label", "confidence")))


def test_counts_of_shards_add_up_to_those_of_all_rows(reader):
    thresholds = np.array([0.2, 0.5, 0.9], np.float32)
    expected = Tally.zero(thresholds, np.array([0.5], np.float32))
    for shard in range(7):
        for rows in reader.read(shard, ("label", "confidence")):
            expected.count(rows)
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        dropped = pipeline | "Dropped" >> beam.Create([None])
        tally = (
            pipeline
            | beam.Create(range(7))
            | beam.Reshuffle()
            | counting.count(
                reader, thresholds, beam.pvalue.AsSingleton(dropped), [0.5]
            )
        )
        _ = tally | beam.Map(check_tally, expected)


def check_tally(tally, expected):
    if tally.read != 7 * 6:
        raise ValueError(f"{tally.read}")
    np.testing.assert_array_equal(tally.histogram, expected.histogram)
    np.testing.assert_array_equal(tally.reached, expected.reached)
