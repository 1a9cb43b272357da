"""How right classifiers are about labeled images: a row for each, and figures.

The rows tell a reader more than any figure: which classes are mixed up, which images
are wrong at high confidence, whether two classifiers are wrong about the same ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from etils import epath
from numpy.typing import NDArray

from classifier.data import python_reader
from classifier.data.examples import OK, UNLABELED, Example, key_text
from classifier.data.sources import Source
from classifier.inference.ensemble import BATCH_SIZE, Ensemble
from classifier.inference.temperature_scaling import calibration_error
from stage import artifact

EVALUATION = "evaluation.json"
#: A row for every image.
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
    where it would stand in a record that cannot be read.

    Raises:
        ValueError: If there is no image, or one has no label in range.
        OSError: On what may pass and did not.
    """
    tables = [
        _rows(ensemble, batch, source.spec)
        for batch in python_reader.read_batches(source.reader, source.files, BATCH_SIZE)
    ]
    if not tables:
        raise ValueError(f"{source.spec}: expected images, found none")
    return pa.concat_tables(tables).combine_chunks()


def summarize(rows: pa.Table) -> dict[str, Any]:
    """Returns the figures of what `evaluate` has returned.

    `num_examples`, `num_correct`, `num_undecodable`, `top1` in [0, 1], in which what
    cannot be decoded counts as wrong, and `calibration_error` in [0, 1] of the others;
    None where there is none.
    """
    right = is_right(rows)
    known = rows["predicted"].is_valid().to_numpy()
    error = None
    if known.any():
        confidence = rows["confidence"].drop_null().to_numpy()
        error = calibration_error(confidence, right[known])
    return {
        "num_examples": len(right),
        "num_correct": int(right.sum()),
        "num_undecodable": int((~known).sum()),
        "top1": float(right.mean()),
        "calibration_error": error,
    }


def is_right(rows: pa.Table) -> NDArray[np.bool_]:
    """Returns of every row, bool [N], whether the prediction is the label."""
    hits = pc.fill_null(pc.equal(rows["label"], rows["predicted"]), False)
    right: NDArray[np.bool_] = hits.to_numpy()
    return right


def write(output: epath.PathLike, figures: dict[str, Any], rows: pa.Table) -> None:
    """Writes `evaluation.parquet` and `evaluation.json` into a directory."""
    path = epath.Path(output)
    with artifact.replacing(path / ROWS) as temporary, temporary.open("wb") as file:
        pq.write_table(rows, file)
    artifact.write_json(path / EVALUATION, figures)


def describe(figures: dict[str, Any]) -> str:
    """Returns what `summarize` has found, as one line."""
    undecodable, error = figures["num_undecodable"], figures["calibration_error"]
    return (
        f"{figures['num_correct']:,} of {figures['num_examples']:,} images right"
        + (f" ({undecodable:,} undecodable)" if undecodable else "")
        + f", {figures['top1']:.2%}"
        + (f", calibration error {error:.2%}" if error is not None else "")
    )


def _rows(ensemble: Ensemble, batch: list[Example], spec: str) -> pa.Table:
    num_classes = len(ensemble.class_names)
    for example in batch:
        is_known = 0 <= example.label < num_classes
        if example.status == OK and not is_known:
            found = "none" if example.label == UNLABELED else example.label
            raise ValueError(
                f"{spec}: {key_text(example.key)}: expected a label in "
                f"0..{num_classes - 1}, got {found}"
            )
    predictions = ensemble.predict(ensemble.decode([one.image for one in batch]))
    status = [
        one.status if one.status != OK else predicted
        for one, predicted in zip(batch, predictions.status, strict=True)
    ]
    is_bad = np.array([one != OK for one in status])
    probabilities = predictions.probabilities
    columns = [
        [key_text(one.key) for one in batch],
        [one.label for one in batch],
        pa.array(probabilities.argmax(axis=1).astype(np.int32), mask=is_bad),
        pa.array(probabilities.max(axis=1), mask=is_bad),
        status,
    ]
    return pa.table(columns, schema=SCHEMA)
