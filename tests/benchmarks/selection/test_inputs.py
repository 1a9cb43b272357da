import numpy as np
import pytest

from benchmarks.measuring import predictions
from benchmarks.selection import inputs
from benchmarks.selection.task import CONFIDENCE_THRESHOLD
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.prediction_set import open_predictions
from tests.benchmarks.selection.conftest import BLOCK_ROWS, CLASSES, SHARD_ROWS, read


@pytest.fixture
def small_shards(monkeypatch):
    """Sizes as those of `directory`."""
    monkeypatch.setattr(predictions, "SHARD_ROWS", SHARD_ROWS)
    monkeypatch.setattr(predictions, "BLOCK_ROWS", BLOCK_ROWS)


def test_the_predictions_are_such_as_selecting_reads(directory):
    predictions = open_predictions(str(directory))
    assert predictions.num_shards == 3
    assert predictions.num_images == 2000
    assert len(predictions.class_names) == CLASSES
    facts = [
        prediction_schema.read_facts(predictions.path(index)) for index in range(3)
    ]
    assert [fact.num_rows for fact in facts] == [667, 667, 666]
    rows = read(directory)
    missing = [row for row in rows if row["status"] != "ok"]
    assert sum(fact.status_counts["ok"] for fact in facts) == 2000 - len(missing)
    assert all(row["label"] is row["confidence"] is None for row in missing)
    assert len({row["key"] for row in rows}) == 2000
    assert len({row["key_hash"] for row in rows}) == 2000
    assert [row["record_index"] for row in rows[667:1334]] == list(range(667))


def test_the_same_numbers_make_the_same_bytes(directory, small_shards, tmp_path):
    again = inputs.open_inputs(tmp_path / "again", rows=2000, classes=CLASSES)
    for path in directory.glob("*.parquet"):
        assert path.read_bytes() == (again / path.name).read_bytes()


def test_what_is_there_is_not_made_again(directory, small_shards, monkeypatch):
    monkeypatch.setattr(prediction_schema, "write_shard", None)
    again = inputs.open_inputs(directory.parent, rows=2000, classes=CLASSES)
    assert again == directory


def test_classes_are_frequent_as_zipf_has_it():
    shares = inputs.class_shares(1000)
    by_rank = np.sort(shares)[::-1]
    assert shares.sum() == pytest.approx(1)
    assert by_rank / by_rank[0] == pytest.approx(1 / np.arange(1, 1001))
    assert not np.array_equal(shares, by_rank)
    (table,) = inputs.make_blocks(0, 16_000, classes=1000)
    labels = table["label"].drop_null().to_numpy()
    assert np.mean(labels == shares.argmax()) == pytest.approx(by_rank[0], rel=0.1)


def test_confidences_crowd_below_one():
    (table,) = inputs.make_blocks(0, 16_000, classes=1000)
    confidences = table["confidence"].drop_null().to_numpy()
    assert 0 < len(table) - len(confidences) < 50
    assert 0 < confidences.min() < CONFIDENCE_THRESHOLD
    assert confidences.max() == 1
    assert 0.001 < np.mean(confidences == 1) < 0.01
    assert np.mean(confidences > 0.999) > 0.2
