"""Whatever is spoiled in the parents of a dataset, verification names it."""

import hashlib
import shutil

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.pseudo_label.dataset.spoiling import (
    change_column,
    change_json,
    check_refused,
    predictions_file,
    verify,
)


def test_predictions_of_other_images(run):
    def change(hashes):
        return [bytes(32) for _ in hashes]

    change_column(predictions_file(run), "image_sha256", change)
    check_refused(run, "000000000000")


def test_predictions_that_lead_to_another_decision(run):
    def change(values):
        return [None, *[0.9999] * (len(values) - 1)]

    change_column(predictions_file(run), "confidence", change)
    check_refused(run, r"class '.*': (confident|unique|records)")


def test_a_row_that_is_missing_from_the_predictions(run):
    path = predictions_file(run)
    table = pq.read_table(path)
    pq.write_table(table.slice(1), path)  # The one without a prediction.
    check_refused(run, "read: ", r"\b24\b", r"\b23\b")


def test_other_dropped_rows(run):
    path = run.root / "selection" / "dropped" / "predictions-00001.parquet"
    table = pq.read_table(path)
    pq.write_table(table.filter(pc.equal(table["record_index"], -1)), path)
    check_refused(run, r"class '.*': (confident|unique|records)")


def test_another_selection(run):
    path = run.root / "selection" / "selection.json"
    change_json(path, lambda selection: selection["funnel"])
    check_refused(run, f"{run.dataset}: selection", r"\b[0-9a-f]{12}\b")


def test_other_predictions(run):
    path = run.root / "predictions" / "config.json"
    change_json(path, lambda config: config.update(top_k=1))
    check_refused(run, f"{run.dataset}: predictions", r"\b[0-9a-f]{12}\b")


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
