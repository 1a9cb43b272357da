import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from pseudo_label.deduplication import near_duplicates
from pseudo_label.predictions.prediction_set import open_predictions
from pseudo_label.selection import kept_rows
from pseudo_label.selection.decision import COLUMNS, count_copies, open_selection
from tests import chain


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A chain whose selection has dropped every other image of the second shard."""
    found = chain.make(tmp_path_factory.mktemp("chain"))
    shutil.rmtree(found.selection)
    _, *others = sorted((found.root / "predictions").glob("predictions-*.parquet"))
    rows = pq.read_metadata(others[0]).num_rows
    chain.select(found, dropped={1: list(range(0, rows, 2))})
    return found


@pytest.fixture
def opened(made):
    predictions = open_predictions(made.predictions)
    return predictions, open_selection(made.selection, predictions)


def decide(made, opened, index):
    return kept_rows.read_decisions(*opened, made.selection, index)


def num_shards(made):
    return len(list((made.root / "predictions").glob("predictions-*.parquet")))


def test_what_is_decided_is_the_rule_without_what_was_dropped(made, opened):
    predictions, selection = opened
    num_taken_away = 0
    for index in range(num_shards(made)):
        rows, copies = decide(made, opened, index)
        table = pq.read_table(str(predictions.path(index)), columns=list(COLUMNS))
        assert rows.num_rows == len(copies) == table.num_rows
        dropped = near_duplicates.read_dropped(
            made.selection, index, selection=selection.fingerprint
        )
        assert not copies[dropped].any()
        undropped = count_copies(rows, selection)
        num_taken_away += undropped[dropped].sum()
        others = np.setdiff1d(np.arange(len(copies)), dropped)
        assert (copies[others] == undropped[others]).all()
    assert num_taken_away


def test_all_records_of_the_funnel_are_kept(made, opened):
    decided = (decide(made, opened, index)[1] for index in range(num_shards(made)))
    assert sum(copies.sum() for copies in decided) == opened[1].funnel.records


@pytest.mark.parametrize("batch", [1, 3, 1024])
def test_the_kept_rows_in_order_of_the_file(made, opened, batch, monkeypatch):
    monkeypatch.setattr(kept_rows, "_BATCH_ROWS", batch)
    path = opened[0].path(0)
    keys = pq.read_table(str(path), columns=["key"])["key"].to_pylist()
    copies = np.arange(len(keys)) % 3
    found = [row["key"] for row in kept_rows.read_kept(path, copies, ["key"])]
    assert found == [key for key, count in zip(keys, copies, strict=True) if count]
