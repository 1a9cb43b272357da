"""Predictions that all ways select from, and the cut-offs by sorting."""

import numpy as np
import pytest

from benchmarks.measuring import predictions
from benchmarks.selection import inputs
from benchmarks.selection.task import CONFIDENCE_THRESHOLD, CutOff
from pseudo_label.predictions import schema as prediction_schema

CLASSES = 20
SHARD_ROWS, BLOCK_ROWS = 700, 300


@pytest.fixture(scope="session")
def directory(tmp_path_factory):
    """2,000 predictions in three files of several blocks; not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictions, "SHARD_ROWS", SHARD_ROWS)
        patch.setattr(predictions, "BLOCK_ROWS", BLOCK_ROWS)
        root = tmp_path_factory.mktemp("selection")
        return inputs.open_inputs(root, rows=2000, classes=CLASSES)


def read(directory):
    """Returns all rows, in order."""
    columns = prediction_schema.schema().names
    return [
        row
        for path in sorted(directory.glob("*.parquet"))
        for table in prediction_schema.read_rows(path, columns)
        for row in table.to_pylist()
    ]


@pytest.fixture(scope="session")
def find_by_sorting(directory):
    """From images per class to the cut-offs, by sorting."""
    threshold = np.float32(CONFIDENCE_THRESHOLD)
    rows = [row for row in read(directory) if row["status"] == "ok"]

    def find(images_per_class):
        found = []
        for label in range(CLASSES):
            best = sorted(
                (-row["confidence"], row["key_hash"])
                for row in rows
                if row["label"] == label and row["confidence"] >= threshold
            )[:images_per_class]
            if best:
                confidence, key_hash = best[-1]
                found.append(CutOff(label, len(best), -confidence, key_hash))
        return found

    return find
