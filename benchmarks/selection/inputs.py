"""Generated inputs of the selection benchmark: a directory of predictions."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.measuring import predictions
from pseudo_label.predictions import schema as prediction_schema
from stage.status import OK

SEED = 0
UNDECODABLE, UNDECODABLE_SHARE = "undecodable", 0.001
#: Share of the images that the teacher is sure of; mean and standard deviation of the
#: top class's logit against all others, of these and of the rest. 1 % of the sure
#: images have a confidence of exactly 1.0 in float32.
SURE_SHARE = 0.4
SURE_LOGIT = (8.0, 4.0)
OTHER_LOGIT = (1.0, 1.5)


def open_inputs(directory: pathlib.Path, *, rows: int, classes: int) -> pathlib.Path:
    """Returns a directory of predictions, deterministic in rows and classes.

    Predictions already in `directory` are reused. Class frequencies follow Zipf's law.
    """
    path = directory / f"predictions-{rows}-{classes}"
    config = {
        "teachers": ["none"],
        "class_names": [f"class {label}" for label in range(classes)],
        "top_k": 1,
        "seed": SEED,
    }
    make = functools.partial(make_blocks, classes=classes)
    predictions.write(path, config, make, rows=rows)
    return path


def keep_in_memory(path: pathlib.Path) -> None:
    """Reads all files, so that they are in the page cache for every way."""
    for file in path.glob("*.parquet"):
        file.read_bytes()


def make_blocks(index: int, size: int, *, classes: int) -> Iterator[pa.Table]:
    """Yields the rows of a shard.

    Top classes, image hashes and error texts are null: no selection reads them.
    """
    rng = np.random.default_rng([SEED, classes, index])
    cumulative = np.cumsum(class_shares(classes))
    for start, rows in predictions.block_ranges(size):
        is_missing = rng.random(rows) < UNDECODABLE_SHARE
        labels = np.searchsorted(cumulative[:-1], rng.random(rows), side="right")
        content = {
            "record_index": np.arange(start, start + rows),
            "key": predictions.make_keys(f"{index:05d}", start, rows),
            "key_hash": predictions.draw_hashes(rng, rows),
            "perceptual_hash": pa.array(
                predictions.draw_hashes(rng, rows), mask=is_missing
            ),
            "status": np.where(is_missing, UNDECODABLE, OK),
            "label": pa.array(labels.astype(np.int32), mask=is_missing),
            "confidence": pa.array(_confidences(rng, rows), mask=is_missing),
        }
        columns = [
            content.get(field.name, pa.nulls(rows, field.type))
            for field in prediction_schema.schema()
        ]
        yield pa.table(columns, schema=prediction_schema.schema())


def class_shares(classes: int) -> NDArray[np.float64]:
    """Returns the frequency of each class, [K] with sum 1, in random order."""
    ranks = np.random.default_rng([SEED, classes]).permutation(classes) + 1
    return 1 / ranks / (1 / ranks).sum()


def _confidences(rng: np.random.Generator, rows: int) -> NDArray[np.float32]:
    """Returns float32 [rows] in [0, 1], many just below 1, where floats are sparse."""
    is_sure = rng.random(rows) < SURE_SHARE
    mean, deviation = np.where(is_sure[:, None], SURE_LOGIT, OTHER_LOGIT).T
    logits = mean + deviation * rng.standard_normal(rows)
    return (1 / (1 + np.exp(-logits.astype(np.float32)))).astype(np.float32)
