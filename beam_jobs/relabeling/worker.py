"""Relabels one shard of predictions, the unit of work.

The embeddings of a block of rows stay in a core's cache while they are multiplied. A
shard whose file exists is done.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import threadpoolctl
from etils import epath
from numpy.typing import NDArray

from beam_jobs.io import filesystems
from classifier.export.facts import read_facts
from classifier.export.head import MIN_LENGTH, Head, read_head
from classifier.inference.probabilities import mean_probabilities
from pseudo_label.predictions import embeddings
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.embeddings import EMBEDDING, EMBEDDING_NORM
from pseudo_label.predictions.prediction_set import PredictionSet
from stage import artifact
from stage.status import NOT_FINITE

#: Numbers of the embeddings, or of the probabilities, of a block.
_BLOCK_NUMBERS = 2**17
#: Columns that are made anew, besides the label, which says who has a prediction.
_MADE = ("confidence", "top_labels", "top_probabilities")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Relabeling:
    """The part of a relabeling job that workers need.

    Attributes:
        predictions: Predictions to relabel.
        teacher: Directory of the classifier with the head.
        temperature: Divisor of the logits.
        top_k: Classes to keep of each image.
        more_columns: Further columns, see `pseudo_label.predictions.schema`.
        output: Directory of the new predictions.
        fingerprint: Hash of everything that decides a row, stored in each file.
    """

    predictions: PredictionSet
    teacher: str
    temperature: float
    top_k: int
    more_columns: Sequence[str]
    output: str
    fingerprint: str

    def path(self, shard: int) -> epath.Path:
        """Returns the file of a shard's new predictions."""
        return epath.Path(self.output) / prediction_schema.shard_name(shard)


class RelabelShards(beam.DoFn):
    """Relabels the shards that are not relabeled yet."""

    def __init__(self, relabeling: Relabeling) -> None:
        self._relabeling = relabeling

    def setup(self) -> None:
        """Reads the head."""
        filesystems.register()
        teacher = self._relabeling.teacher
        self._head = read_head(teacher, read_facts(teacher))

    def process(self, shard: int) -> Iterator[int]:
        """Relabels one shard; yields its index."""
        if not self._relabeling.path(shard).exists():
            # More threads would change the last bits.
            with threadpoolctl.threadpool_limits(1):
                relabel_shard(self._relabeling, self._head, shard)
        yield shard


def relabel_shard(relabeling: Relabeling, head: Head, shard: int) -> None:
    """Writes the new predictions of one shard atomically."""
    path, before = relabeling.path(shard), relabeling.predictions.path(shard)
    with artifact.replacing(path) as temporary, temporary.open("wb") as file:
        prediction_schema.write_shard(
            file,
            _tables(before, relabeling, head),
            fingerprint=relabeling.fingerprint,
            shard=prediction_schema.read_facts(before).shard,
            more=relabeling.more_columns,
        )


def read_columns(relabeling: Relabeling) -> list[str]:
    """Returns the columns that are needed of the predictions."""
    kept = prediction_schema.schema(*relabeling.more_columns).names
    read = dict.fromkeys([*kept, EMBEDDING, EMBEDDING_NORM])
    return [name for name in read if name not in _MADE]


def _tables(
    before: epath.Path, relabeling: Relabeling, head: Head
) -> Iterator[pa.Table]:
    schema = prediction_schema.schema(*relabeling.more_columns)
    first = 0
    for table in prediction_schema.read_rows(before, read_columns(relabeling)):
        size = head.embedding_size
        halves = embeddings.to_matrix(table, size, path=before, first=first)
        norms = table[EMBEDDING_NORM].filter(table["label"].is_valid())
        labels, probabilities = predict(
            head,
            halves,
            norms.fill_null(np.nan).to_numpy(),
            temperature=relabeling.temperature,
            top_k=relabeling.top_k,
        )
        first += table.num_rows
        yield _replace(table, labels, probabilities).select(schema.names)


def predict(
    head: Head,
    halves: NDArray[np.float16],
    norms: NDArray[np.float32],
    *,
    temperature: float,
    top_k: int,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Returns labels and probabilities [B,k] of the top classes, the highest first.

    Where they are not finite, the probabilities are NaN.

    Args:
        head: The head, of D features.
        halves: float16 [B,D], embeddings of length 1 or 0.
        norms: float32 [B], lengths of the embeddings before.
        temperature: Divisor of the logits.
        top_k: Number k of classes.
    """
    labels = np.zeros((len(halves), top_k), np.int32)
    top = np.zeros((len(halves), top_k), np.float32)
    scale = norms
    if head.normalize:
        with np.errstate(invalid="ignore"):
            scale = np.divide(norms, np.maximum(norms, MIN_LENGTH), dtype=np.float32)
    step = max(1, _BLOCK_NUMBERS // max(head.kernel.shape))
    for start in range(0, len(halves), step):
        block = slice(start, start + step)
        with np.errstate(over="ignore", invalid="ignore"):
            logits = embeddings.widen(halves[block]) @ head.kernel
            logits = logits * scale[block, None] + head.bias
        probabilities = mean_probabilities(logits[None], [temperature])
        lost = ~np.isfinite(probabilities).all(axis=1)
        probabilities[lost] = 0
        labels[block] = prediction_schema.top_classes(probabilities, top_k)
        top[block] = np.take_along_axis(probabilities, labels[block], axis=1)
        top[block][lost] = np.nan
    return labels, top


def _replace(
    table: pa.Table, labels: NDArray[np.int32], probabilities: NDArray[np.float32]
) -> pa.Table:
    """Returns rows with new top classes [R,k] of those that have a prediction."""
    had_none = table["label"].is_null().to_numpy()
    is_missing = had_none.copy()
    is_missing[~had_none] = np.isnan(probabilities[:, 0])
    if (is_missing & ~had_none).any():
        table = _without_prediction(table, pa.array(is_missing & ~had_none))
    columns = prediction_schema.top_columns(
        prediction_schema.scatter(labels, had_none),
        prediction_schema.scatter(probabilities, had_none),
        is_missing,
    )
    table = table.drop_columns(["label"])
    for name, column in columns.items():
        table = table.append_column(name, column)
    return table


def _without_prediction(table: pa.Table, lost: pa.Array) -> pa.Table:
    """Returns rows of which the lost ones have a status and no prediction."""
    values: dict[str, str | None] = {
        "status": NOT_FINITE,
        "error": "the head's output is not finite",
        "perceptual_hash": None,
        EMBEDDING: None,
        EMBEDDING_NORM: None,
    }
    types = table.schema
    changed = {
        name: pc.if_else(lost, pa.scalar(value, types.field(name).type), table[name])
        for name, value in values.items()
    }
    return prediction_schema.replace_columns(table, changed)
