import functools

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.measuring import predictions
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.prediction_set import open_predictions

CONFIG = {"teachers": ["none"], "class_names": ["a"]}


def make_blocks(index, size):
    rng = np.random.default_rng(index)
    for start, rows in predictions.block_ranges(size):
        content = {
            "record_index": np.arange(start, start + rows),
            "key": predictions.make_keys(f"{index}", start, rows),
            "key_hash": predictions.draw_hashes(rng, rows),
            "status": np.full(rows, "ok"),
        }
        columns = [
            content.get(field.name, pa.nulls(rows, field.type))
            for field in prediction_schema.schema()
        ]
        yield pa.table(columns, schema=prediction_schema.schema())


@pytest.fixture
def write(monkeypatch, tmp_path):
    monkeypatch.setattr(predictions, "SHARD_ROWS", 10)
    monkeypatch.setattr(predictions, "BLOCK_ROWS", 4)
    return functools.partial(predictions.write, tmp_path, CONFIG)


def test_rows_are_divided_evenly(write, tmp_path):
    write(make_blocks, rows=23)
    found = open_predictions(str(tmp_path))
    tables = [prediction_schema.read_table(found.path(n), ["key"]) for n in range(3)]
    assert [table.num_rows for table in tables] == [8, 8, 7]
    keys = pa.concat_tables(tables)["key"].to_pylist()
    assert len(set(keys)) == found.num_images == 23


def test_what_is_there_is_not_made_again(write):
    write(make_blocks, rows=5)
    write(None, rows=5)
