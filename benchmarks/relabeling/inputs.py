"""Generated inputs of the relabeling benchmark: predictions and a head."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.measuring import predictions
from classifier.data.config import ImageConfig
from classifier.export.facts import CLASSIFIER
from classifier.export.head import Head, write_head
from pseudo_label.predictions import embeddings
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.embeddings import EMBEDDING, EMBEDDING_NORM
from pseudo_label.propagation.graph import normalize_rows
from stage import artifact, shard_list
from stage.status import OK

_FEATURES = "f" * 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shape:
    """Numbers of features D and of classes K, and the number of images."""

    features: int
    classes: int
    images: int


@dataclasses.dataclass(frozen=True)
class RelabelingInputs:
    """Directories of predictions with embeddings, and of a teacher with a head."""

    predictions: pathlib.Path
    teacher: pathlib.Path


def open_inputs(directory: pathlib.Path, shape: Shape) -> RelabelingInputs:
    """Returns predictions and a teacher; those already in `directory` are reused."""
    name = "-".join(map(str, dataclasses.astuple(shape)))
    inputs = RelabelingInputs(
        directory / f"predictions-{name}", directory / f"teacher-{name}"
    )
    config = {
        "teachers": ["none"],
        "class_names": _class_names(shape),
        "top_k": 1,
        "embedding_size": shape.features,
        "has_embedding_norms": True,
        "features": _FEATURES,
    }

    def make(index: int, size: int) -> Iterator[pa.Table]:
        return _make_blocks(shape, index, size)

    more = [EMBEDDING, EMBEDDING_NORM]
    predictions.write(inputs.predictions, config, make, rows=shape.images, more=more)
    (
        inputs.predictions / shard_list.NAME
    ).touch()  # What the job copies and does not read.
    _write_teacher(inputs.teacher, shape)
    return inputs


def _class_names(shape: Shape) -> list[str]:
    return [f"class {label}" for label in range(shape.classes)]


def _make_blocks(shape: Shape, index: int, size: int) -> Iterator[pa.Table]:
    rng = np.random.default_rng(index)
    drawn = rng.standard_normal((predictions.BLOCK_ROWS, shape.features), np.float32)
    features = normalize_rows(drawn)
    for start, rows in predictions.block_ranges(size):
        none = np.zeros(rows, bool)
        columns = [
            np.arange(start, start + rows),
            predictions.make_keys(f"{index:05d}", start, rows),
            predictions.draw_hashes(rng, rows),
            pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(32), rows, [None, pa.py_buffer(rng.bytes(32 * rows))]
            ),
            predictions.draw_hashes(rng, rows),
            pa.repeat(OK, rows),
            pa.repeat("", rows),
            *prediction_schema.top_columns(
                np.zeros((rows, 1), np.int32), np.ones((rows, 1), np.float32), none
            ).values(),
            embeddings.to_column(features[rng.permutation(rows)], none),
            1 + rng.random(rows, np.float32),
        ]
        names = prediction_schema.schema(EMBEDDING, EMBEDDING_NORM)
        yield pa.table(columns, schema=names)


def _write_teacher(directory: pathlib.Path, shape: Shape) -> None:
    """Writes a classifier of which nothing but the head is there."""
    config = {"shape": dataclasses.asdict(shape)}
    if artifact.start_or_resume(directory, config):
        return
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((shape.features, shape.classes), np.float32)
    head = Head(kernel, np.zeros(shape.classes, np.float32))
    facts: dict[str, Any] = {
        "fingerprint": "e" * 64,
        "class_names": _class_names(shape),
        "image": dataclasses.asdict(ImageConfig(size=32)),
        "features": _FEATURES,
        "head": write_head(directory, head),
    }
    (directory / CLASSIFIER).write_text(json.dumps(facts))
    artifact.complete(directory, seconds=0.0)
