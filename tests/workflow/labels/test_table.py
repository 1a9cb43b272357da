import collections
import csv
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pseudo_label.dataset.records import parsing_spec
from tests import chain
from workflow.labels import selected, table


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    found = chain.make(tmp_path_factory.mktemp("chain"), dropped={1: [2]})
    found.write()
    return found


@pytest.fixture
def labels(made):
    return selected.open_selected(made.predictions, made.selection)


def written(made):
    """Returns label and confidence of each record of the dataset, and its number."""
    import tensorflow as tf

    found = collections.Counter()
    for path in made.dataset.glob("*.tfrecord*"):
        for content in tf.data.TFRecordDataset(str(path)):
            record = tf.io.parse_single_example(
                content, parsing_spec(top_k=chain.TOP_K)
            )
            key, label, confidence = (
                record[name].numpy() for name in ("key", "label", "confidence")
            )
            found[key.decode(), int(label), float(confidence)] += 1
    return found


def test_parquet_has_the_rows_that_are_written(made, labels, tmp_path):
    output = tmp_path / "below" / "labels.parquet"
    count = table.write(labels, str(output))
    rows = pq.read_table(output)
    assert rows.schema == table.SCHEMA
    found = {
        (row["key"], row["label"], row["confidence"]): row["copies"]
        for row in rows.to_pylist()
    }
    assert count == len(found) == labels.selection.funnel.unique_kept
    assert found == written(made)
    names = [chain.CLASS_NAMES[label] for label in rows["label"].to_pylist()]
    assert rows["class"].to_pylist() == names


def test_csv_has_the_rows_of_parquet(labels, tmp_path):
    table.write(labels, str(tmp_path / "labels.parquet"))
    table.write(labels, str(tmp_path / "labels.csv"))
    expected = pq.read_table(tmp_path / "labels.parquet").to_pylist()
    with (tmp_path / "labels.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert len(found) == len(expected)
    for row, other in zip(found, expected, strict=True):
        assert row["key"] == other["key"] and row["class"] == other["class"]
        assert int(row["copies"]) == other["copies"]
        # Enough digits for the same float32.
        confidence = pa.scalar(float(row["confidence"]), pa.float32()).as_py()
        assert confidence == other["confidence"]


def test_names_of_classes_that_are_no_text_are_escaped(made, tmp_path, monkeypatch):
    monkeypatch.setattr(chain, "CLASS_NAMES", ("a,b", "\udcff", 'say "c"\n'))
    other = chain.make(tmp_path / "chain")
    table.write(
        selected.open_selected(other.predictions, other.selection),
        str(tmp_path / "labels.csv"),
    )
    with (tmp_path / "labels.csv").open(newline="") as file:
        found = {row["class"] for row in csv.DictReader(file)}
    assert found == {"a,b", r"\udcff", r'say "c"\n'}


def test_a_row_that_is_broken_leaves_no_table(made, tmp_path):
    copy = chain.make(tmp_path / "chain")
    labels = selected.open_selected(copy.predictions, copy.selection)
    path = pathlib.Path(copy.predictions, "predictions-00002.parquet")
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match="predictions-00002"):
        table.write(labels, str(tmp_path / "labels.csv"))
    assert {path.name for path in tmp_path.iterdir()} == {"chain"}
