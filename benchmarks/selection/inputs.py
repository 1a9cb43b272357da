"""Generated inputs of the selection benchmark: a directory of predictions."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from etils import epath
from numpy.typing import NDArray

from pseudo_label.predictions import schema as prediction_schema
from stage import artifact
from stage.status import OK

SEED = 0
#: Maximum number of rows per file: 130 million images make 1,024 shards.
SHARD_ROWS = 127_000
#: Rows that are generated at once.
BLOCK_ROWS = 2**14
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
    sizes = shard_sizes(rows)
    config = {
        "teachers": ["none"],
        "class_names": [f"class {label}" for label in range(classes)],
        "top_k": 1,
        "images": {"rows": rows, "num_shards": len(sizes)},
        "seed": SEED,
    }
    if artifact.start_or_resume(path, config):
        return path
    fingerprint = artifact.config_fingerprint(config, leaving_out="images")
    for index, size in enumerate(sizes):
        file = epath.Path(path) / prediction_schema.shard_name(index)
        with artifact.replacing(file) as temporary, temporary.open("wb") as stream:
            blocks = make_blocks(index, size, classes=classes)
            prediction_schema.write_shard(stream, blocks, fingerprint=fingerprint)
    artifact.complete(path, seconds=0.0)
    return path


def keep_in_memory(path: pathlib.Path) -> None:
    """Reads all files, so that they are in the page cache for every way."""
    for file in path.glob("*.parquet"):
        file.read_bytes()


def shard_sizes(rows: int) -> list[int]:
    """Returns the number of rows of each file."""
    shards = -(-rows // SHARD_ROWS)
    return [rows // shards + (index < rows % shards) for index in range(shards)]


def make_blocks(index: int, size: int, *, classes: int) -> Iterator[pa.Table]:
    """Yields the rows of a shard.

    Top classes, image hashes and error texts are null: no selection reads them.
    """
    rng = np.random.default_rng([SEED, classes, index])
    cumulative = np.cumsum(class_shares(classes))
    for start in range(0, size, BLOCK_ROWS):
        rows = min(BLOCK_ROWS, size - start)
        is_missing = rng.random(rows) < UNDECODABLE_SHARE
        labels = np.searchsorted(cumulative[:-1], rng.random(rows), side="right")
        content = {
            "record_index": np.arange(start, start + rows),
            "key": _keys(index, start, rows),
            "key_hash": _hashes(rng, rows),
            "perceptual_hash": pa.array(_hashes(rng, rows), mask=is_missing),
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


def _keys(shard: int, start: int, rows: int) -> pa.Array:
    numbers = pc.cast(pa.array(np.arange(start, start + rows)), pa.string())
    return pc.binary_join_element_wise(
        f"{shard:05d}", pc.utf8_lpad(numbers, 6, "0"), "#"
    )


def _hashes(rng: np.random.Generator, rows: int) -> NDArray[np.uint64]:
    return rng.integers(0, 2**64, rows, dtype=np.uint64)


def _confidences(rng: np.random.Generator, rows: int) -> NDArray[np.float32]:
    """Returns float32 [rows] in [0, 1], many just below 1, where floats are sparse."""
    is_sure = rng.random(rows) < SURE_SHARE
    mean, deviation = np.where(is_sure[:, None], SURE_LOGIT, OTHER_LOGIT).T
    logits = mean + deviation * rng.standard_normal(rows)
    return (1 / (1 + np.exp(-logits.astype(np.float32)))).astype(np.float32)
