"""Evaluation on labeled images: one row per image, and the figures of all.

The rows show which classes are confused, which images are misclassified at high
confidence, and whether two classifiers misclassify the same images.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from etils import epath
from numpy.typing import NDArray

from classifier.data import inspection, python_reader
from classifier.data.examples import Example, key_text
from classifier.data.sources import Source
from classifier.inference.ensemble import BATCH_SIZE, Ensemble
from classifier.inference.temperature_scaling import calibration_error
from stage import artifact, parquet
from stage.status import OK

EVALUATION = "evaluation.json"
#: One row per image.
ROWS = "evaluation.parquet"
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("label", pa.int32()),
        ("predicted", pa.int32()),
        ("confidence", pa.float32()),
        ("status", pa.string()),
    ]
)


def evaluate(ensemble: Ensemble, source: Source) -> pa.Table:
    """Returns a row of `SCHEMA` for every image, in the order of the source.

    `predicted` and `confidence` are null where `status` is not `ok`; `label` is -1
    where the record that holds it cannot be read. Raises ValueError as
    `inspection.inspect`.
    """
    source = inspection.inspect(source)
    batches = python_reader.read_batches(source.reader, source.files, BATCH_SIZE)
    tables = [_rows(ensemble, batch) for batch in batches]
    return pa.concat_tables(tables).combine_chunks()


def summarize(rows: pa.Table) -> dict[str, Any]:
    """Returns the figures of the rows that `evaluate` returned.

    They are `num_examples`, `num_correct`, `num_undecodable`, `top1` in [0, 1], with
    undecodable images counted as wrong, and `calibration_error` in [0, 1] of the
    decoded images, None if there is none.
    """
    right = is_right(rows)
    known = rows["predicted"].is_valid().to_numpy()
    confidence = rows["confidence"].drop_null().to_numpy()
    return {
        "num_examples": len(right),
        "num_correct": int(right.sum()),
        "num_undecodable": int((~known).sum()),
        "top1": float(right.mean()),
        "calibration_error": (
            calibration_error(confidence, right[known]) if known.any() else None
        ),
    }


def is_right(rows: pa.Table) -> NDArray[np.bool_]:
    """Returns bool [N], whether the prediction of each row is its label."""
    hits = pc.equal(rows["label"], rows["predicted"])
    return pc.fill_null(hits, False).to_numpy()


def write(output: epath.PathLike, figures: dict[str, Any], rows: pa.Table) -> None:
    """Writes `evaluation.parquet` and `evaluation.json` into a directory."""
    path = epath.Path(output)
    parquet.write_parquet_file(path / ROWS, rows)
    artifact.write_json(path / EVALUATION, figures)


def describe(figures: dict[str, Any]) -> str:
    """Returns the figures of `summarize` as one line."""
    undecodable, error = figures["num_undecodable"], figures["calibration_error"]
    return (
        f"{figures['num_correct']:,} of {figures['num_examples']:,} images right"
        + (f" ({undecodable:,} undecodable)" if undecodable else "")
        + f", {figures['top1']:.2%}"
        + (f", calibration error {error:.2%}" if error is not None else "")
    )


def _rows(ensemble: Ensemble, batch: list[Example]) -> pa.Table:
    predictions = ensemble.predict(ensemble.decode(batch))
    is_bad = np.array(predictions.status) != OK
    probabilities = predictions.probabilities
    columns = [
        [key_text(example.key) for example in batch],
        [example.label for example in batch],
        pa.array(probabilities.argmax(axis=1).astype(np.int32), mask=is_bad),
        pa.array(probabilities.max(axis=1), mask=is_bad),
        predictions.status,
    ]
    return pa.table(columns, schema=SCHEMA)
