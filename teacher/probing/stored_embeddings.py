"""Embeddings that `label_images --embeddings` has stored, with labels.

A labeled image is found by the SHA-256 of its bytes, so no image is decoded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from classifier.data import python_reader
from classifier.data.examples import key_text
from classifier.data.sources import Source
from classifier.inference.ensemble import BATCH_SIZE
from classifier.probing.embeddings import LabeledEmbeddings
from pseudo_label.predictions import embeddings
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.embeddings import EMBEDDING, EMBEDDING_NORM
from pseudo_label.predictions.prediction_set import PredictionSet
from pseudo_label.predictions.schema import TRUE_LABEL

_COLUMNS = ["key", "image_sha256", "label", EMBEDDING, EMBEDDING_NORM]


def read_true_labels(predictions: PredictionSet) -> LabeledEmbeddings:
    """Returns the images whose label is stored; ValueError if there is none."""
    tables, rows = [], []
    columns = [*_COLUMNS, TRUE_LABEL]
    for table, features in _read(
        predictions, columns, lambda table: table[TRUE_LABEL].is_valid()
    ):
        tables.append(table.drop_columns([EMBEDDING]))
        rows.append(features)
    found = pa.concat_tables(tables) if tables else pa.table({"key": []})
    if not len(found):
        raise ValueError(
            f"{predictions.directory} has no image with a label and an embedding"
        )
    return LabeledEmbeddings(
        found["key"].to_pylist(),
        [digest.hex() for digest in found["image_sha256"].to_pylist()],
        found[TRUE_LABEL].to_numpy().astype(np.int64),
        np.concatenate(rows),
    )


def match(predictions: PredictionSet, source: Source) -> LabeledEmbeddings:
    """Returns the images of a labeled source with the embeddings of equal images.

    Raises ValueError if one is not among the predictions.
    """
    keys, digests, labels = _read_labeled(source)
    wanted = pa.array(list({bytes.fromhex(digest) for digest in digests}))
    at: dict[str, NDArray[np.float32]] = {}
    for table, features in _read(
        predictions,
        _COLUMNS,
        lambda table: pc.is_in(table["image_sha256"], wanted),
    ):
        names = [digest.hex() for digest in table["image_sha256"].to_pylist()]
        at |= dict(zip(names, features, strict=True))
    missing = [row for row, digest in enumerate(digests) if digest not in at]
    if missing:
        raise ValueError(
            f"{source.spec}: {len(missing):,} of {len(keys):,} images have no "
            f"embedding in {predictions.directory}, the first is {keys[missing[0]]}; "
            "expected them among the images of label_images --embeddings (what could "
            "not be decoded has none); otherwise give a network as --features"
        )
    rows = np.stack([at[digest] for digest in digests])
    return LabeledEmbeddings(keys, digests, np.array(labels, np.int64), rows)


def _read_labeled(source: Source) -> tuple[list[str], list[str], list[int]]:
    """Returns keys, SHA-256 and labels of a source."""
    keys, digests, labels = [], [], []
    for batch in python_reader.read_batches(source.reader, source.files, BATCH_SIZE):
        keys += [key_text(example.key) for example in batch]
        digests += [hashlib.sha256(example.image).hexdigest() for example in batch]
        labels += [example.label for example in batch]
    return keys, digests, labels


def _read(
    predictions: PredictionSet,
    columns: list[str],
    is_wanted: Callable[[pa.Table], pa.ChunkedArray],
) -> Iterator[tuple[pa.Table, NDArray[np.float32]]]:
    """Yields wanted rows that have finite features, and those features [B,D]."""
    size = predictions.embedding_size
    for index in range(predictions.num_shards):
        path, first = predictions.path(index), 0
        for table in prediction_schema.read_rows(path, columns):
            directions = embeddings.to_matrix(table, size, path=path, first=first)
            first += len(table)
            table = table.filter(table["label"].is_valid())
            norms = table[EMBEDDING_NORM].to_numpy()
            wanted = np.asarray(is_wanted(table)) & np.isfinite(norms)
            features = embeddings.widen(np.ascontiguousarray(directions[wanted]))
            yield table.filter(pa.array(wanted)), features * norms[wanted, np.newaxis]
