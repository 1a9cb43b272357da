"""Whatever is spoiled in the parents of a dataset, verification names it."""

import hashlib
import shutil

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pseudo_label.deduplication import near_duplicates
from pseudo_label.predictions import schema as prediction_schema
from tests import chain
from tests.pseudo_label.dataset.spoiling import (
    change_json,
    change_rows,
    check_refused,
    predictions_file,
    verify,
)


def test_predictions_of_other_images(run):
    def change(rows):
        for row in rows:
            row["image_sha256"] = bytes(32)

    change_rows(run, change)
    check_refused(run, "000000000000")


def test_predictions_that_lead_to_another_decision(run):
    def change(rows):
        for row in rows[1:]:
            row["confidence"] = row["top_probabilities"][0] = 0.9999

    change_rows(run, change)
    check_refused(run, r"class '.*': (confident|unique|records)")


def test_a_row_that_is_missing_from_the_predictions(run):
    def change(rows):
        del rows[0]  # The one without a prediction.
        for index, row in enumerate(rows):
            row["record_index"] = index

    change_rows(run, change)
    check_refused(run, "read: ", r"\b24\b", r"\b23\b")


def test_predictions_that_were_made_again(run):
    """Though every file and the selection are what they say."""
    path = predictions_file(run)
    rows = pq.read_table(path).to_pylist()
    rows[0]["error"] = "another reason"
    chain.rewrite(path, pa.Table.from_pylist(rows, prediction_schema.schema()))
    check_refused(run, f"{run.dataset}: predictions", r"\b[0-9a-f]{12}\b")


#: By column: another value of one row.
VALUES = {
    "key": "another",
    "key_hash": 5,
    "status": "missing",
    "label": 77,
    "confidence": 0.125,
    "top_labels": [77, 78],
    "top_probabilities": [0.1, 0.2],
}


@pytest.mark.parametrize("name", VALUES)
def test_a_row_that_contradicts_itself(run, name):
    """Of whatever image: the change leads to no other decision."""
    lowest = min(
        (row for row in pq.read_table(predictions_file(run)).to_pylist()[1:]),
        key=lambda row: row["confidence"],
    )

    def change(rows):
        rows[lowest["record_index"]][name] = VALUES[name]

    change_rows(run, change)
    words = rf"predictions-00000\.parquet, row {lowest['record_index']}: "
    check_refused(run, words)


def test_a_label_beyond_the_classes(run):
    def change(rows):
        rows[3]["label"], rows[3]["top_labels"] = 3, [3, 1]

    change_rows(run, change)
    check_refused(run, r"predictions-00000\.parquet, row 3: .*0\.\.2.*3")


@pytest.mark.parametrize(
    ("name", "value"),
    [("key", "another"), ("reason", "other"), ("record_index", 8), ("record_index", 0)],
)
def test_a_dropped_row_that_is_none(run, name, value):
    path = run.root / "selection" / "dropped" / "predictions-00001.parquet"
    (row,) = pq.read_table(path).to_pylist()
    schema = near_duplicates.dropped_schema()
    table = pa.Table.from_pylist([{**row, name: value}], schema)
    near_duplicates.write_dropped(run.selection, 1, table)
    check_refused(run, f"{path}")


def test_other_dropped_rows(run):
    path = run.root / "selection" / "dropped" / "predictions-00001.parquet"
    table = pq.read_table(path)
    pq.write_table(table.filter(pc.equal(table["record_index"], -1)), path)
    check_refused(run, r"class '.*': (confident|unique|records)")


def test_another_selection(run):
    path = run.root / "selection" / "selection.json"
    change_json(path, lambda selection: selection.update(fingerprint=""))
    check_refused(run, f"{run.dataset}: selection", r"\b[0-9a-f]{12}\b")


def test_other_predictions(run):
    path = run.root / "predictions" / "config.json"
    change_json(path, lambda config: config.update(top_k=1))
    check_refused(run, f"{run.predictions}", r"\b[0-9a-f]{12}\b")


@pytest.mark.parametrize("name", ["dataset", "predictions", "selection"])
def test_a_directory_that_is_not_complete(run, name):
    (run.root / name / "COMPLETED").unlink()
    check_refused(run, f"{name}: .*{name}", "COMPLETED")
    shutil.rmtree(run.root / name)
    check_refused(run, f"{name}: .*{name}")


@pytest.mark.parametrize("name", ["round", "selection", "record_version"])
def test_a_config_that_is_no_datasets(run, name):
    change_json(run.dataset / "config.json", lambda config: config.pop(name))
    check_refused(run, f"{run.dataset}", name)


def test_inputs_that_were_moved(run):
    for name in ("predictions", "selection"):
        (run.root / name).rename(run.root / f"old-{name}")
    check_refused(run, "predictions: ")
    moved = {
        name: str(run.root / f"old-{name}") for name in ("predictions", "selection")
    }
    assert verify(run, **moved)


def change_selection(run, change):
    """Changes the selection, and its fingerprint in the dataset."""
    path = run.root / "selection" / "selection.json"
    change_json(path, change)
    fingerprint = hashlib.sha256(path.read_bytes()).hexdigest()
    change_json(
        run.dataset / "config.json", lambda config: config.update(selection=fingerprint)
    )


def test_the_predictions_of_another_selection(run):
    change_selection(run, lambda selection: selection.update(predictions="f" * 64))
    check_refused(run, "selection", "f" * 12)


def test_other_classes_than_the_predictions(run):
    change_selection(run, lambda selection: selection["classes"].pop())
    check_refused(run, f"{run.root}/selection", "3", "2")
