"""Verifying datasets in this process, and changing their files before."""

import hashlib
import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from pseudo_label.dataset import records as dataset_records
from pseudo_label.dataset import verify_records, verify_selection
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.prediction_set import open_predictions
from tests import chain


def verify(run, **moved):
    opened = verify_selection.open_lineage(str(run.dataset), **moved)
    kept, counts = verify_selection.count_predictions(opened)
    return counts + verify_records.count_records(opened, kept)


def check_refused(run, *patterns):
    """Verifying fails with a message that has all of these names and values."""
    with pytest.raises((ValueError, FileNotFoundError)) as refusal:
        verify(run)
    for pattern in patterns:
        assert re.search(pattern, str(refusal.value)), refusal.value


def change_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content, indent=2) + "\n")


def set_length(run, index, difference):
    def change(info):
        lengths = info["splits"][0]["shardLengths"]
        lengths[index] = str(int(lengths[index]) + difference)

    change_json(run.dataset / "dataset_info.json", change)


def change_records(path, change):
    """Rewrites a file of records with what `change` makes of the list of them."""
    examples = [
        tf.train.Example.FromString(content.numpy())
        for content in tf.data.TFRecordDataset(str(path))
    ]
    assert len(examples) > 1
    with tf.io.TFRecordWriter(str(path)) as writer:
        for example in change(examples):
            writer.write(example.SerializeToString())


def replace(name, kind, value):
    """Returns a change that gives the second record of a file another value."""

    def change(examples):
        values = getattr(examples[1].features.feature[name], kind).value
        values[0] = value
        return examples

    return change


def first_file(run):
    return run.dataset / dataset_records.shard_name(1, 6)


def change_rows(run, change, index=0):
    """Changes a predictions file, as if it had been labeled and selected so.

    `change` gets the rows as dictionaries.
    """
    path = predictions_file(run, index)
    rows = pq.read_table(path).to_pylist()
    change(rows)
    chain.rewrite(path, pa.Table.from_pylist(rows, prediction_schema.schema()))
    bind(run)


def bind(run):
    """Puts fingerprints of the predictions and the selection where they belong."""
    fingerprint = open_predictions(run.predictions).fingerprint
    selection = run.root / "selection" / "selection.json"
    change_json(selection, lambda content: content.update(predictions=fingerprint))
    parents = {
        "predictions": fingerprint,
        "selection": hashlib.sha256(selection.read_bytes()).hexdigest(),
    }
    before = json.loads((run.dataset / "config.json").read_text())
    change_json(run.dataset / "config.json", lambda content: content.update(parents))
    card = run.dataset / "README.md"
    text = card.read_text()
    card.write_text(text.replace(before["predictions"], fingerprint))


def predictions_file(run, index=0):
    return run.root / "predictions" / f"predictions-{index:05d}.parquet"
