"""Runs the propagation job in processes of its own, and reads what it has made."""

from __future__ import annotations

import contextlib
import json
import pathlib
import sys
import tempfile
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.measuring.process_watch import watch
from benchmarks.measuring.turns import Figures
from benchmarks.propagation.inputs import PropagationInputs
from pseudo_label.predictions import embeddings
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.embeddings import EMBEDDING
from pseudo_label.predictions.prediction_set import (
    SUMMARY,
    PredictionSet,
    open_predictions,
)
from pseudo_label.predictions.schema import TRUE_LABEL


class SpreadRun(NamedTuple):
    """A run of the job, whose output is there as long as the block that made it.

    Attributes:
        output: The new predictions.
        figures: seconds, from the command's start to its end; cpu_seconds and peak_gb,
            peak memory, of all its processes together.
    """

    output: PredictionSet
    figures: Figures


@contextlib.contextmanager
def propagated(
    inputs: PropagationInputs, *, exact_images: int | None = None
) -> Iterator[SpreadRun]:
    """Runs the job; `exact_images` is its flag, None for the default."""
    root = inputs.predictions.parent
    with tempfile.TemporaryDirectory(dir=root) as directory:
        output = pathlib.Path(directory) / "propagated"
        watched = watch(propagate_command(inputs, output, exact_images=exact_images))
        yield SpreadRun(open_predictions(str(output)), watched.usage)


def propagate_command(
    inputs: PropagationInputs, output: pathlib.Path, *, exact_images: int | None
) -> list[str]:
    """Returns our command line, for spread labels without the teacher's share."""
    exact = [] if exact_images is None else [f"--exact_images={exact_images}"]
    return [
        *(sys.executable, "-m", "beam_jobs.propagate_labels"),
        f"--predictions={inputs.predictions}",
        f"--labeled={inputs.labeled}",
        f"--output={output}",
        *("--blend=1", "--notie_disagreements"),
        *exact,
    ]


def compare_with_truth(inputs: PropagationInputs, output: PredictionSet) -> Figures:
    """Returns how often labels are the truth's.

    Returns:
        accuracy of the new labels; teacher, that of the teacher's; reached, share of
        the images that labels were spread to; others keep the teacher's.
    """
    before = open_predictions(str(inputs.predictions))
    right = teacher = 0
    for shard in range(before.num_shards):
        table = prediction_schema.read_table(before.path(shard), ["label", TRUE_LABEL])
        truth = table[TRUE_LABEL].to_numpy()
        right += int((read_labels(output, shard) == truth).sum())
        teacher += int((table["label"].to_numpy() == truth).sum())
    summary = json.loads((pathlib.Path(output.directory) / SUMMARY).read_text())
    counts = {
        "accuracy": right,
        "teacher": teacher,
        "reached": summary["agreement"]["compared"],
    }
    return {name: count / before.num_images for name, count in counts.items()}


def share_of_same_labels(one: PredictionSet, other: PredictionSet) -> float:
    """Returns the share of images with the same top class in both."""
    same = sum(
        int((read_labels(one, shard) == read_labels(other, shard)).sum())
        for shard in range(one.num_shards)
    )
    return same / one.num_images


def read_labels(images: PredictionSet, shard: int) -> NDArray[np.int32]:
    """Returns the top classes [N] of a shard."""
    table = prediction_schema.read_table(images.path(shard), ["label"])
    labels: NDArray[np.int32] = table["label"].to_numpy()
    return labels


def read_distributions(images: PredictionSet) -> NDArray[np.float32]:
    """Returns the probabilities [N,K] of all images, with all K classes stored."""
    classes = len(images.class_names)
    labels = _read_lists(images, "top_labels", classes)
    distributions = np.zeros(labels.shape, np.float32)
    probabilities = _read_lists(images, "top_probabilities", classes)
    np.put_along_axis(distributions, labels.astype(np.int64), probabilities, axis=1)
    return distributions


def read_features(images: PredictionSet) -> NDArray[np.float16]:
    """Returns the features [N,D] of all images."""
    parts = []
    for path in map(images.path, range(images.num_shards)):
        table = prediction_schema.read_table(path, ["label", EMBEDDING])
        parts.append(
            embeddings.to_matrix(table, images.embedding_size, path=path, first=0)
        )
    return np.concatenate(parts)


def read_truth(images: PredictionSet) -> NDArray[np.int32]:
    """Returns the true labels [N] of all images."""
    return np.concatenate(
        [
            prediction_schema.read_table(images.path(shard), [TRUE_LABEL])[0].to_numpy()
            for shard in range(images.num_shards)
        ]
    )


def _read_lists(images: PredictionSet, column: str, size: int) -> NDArray[np.generic]:
    parts = []
    for shard in range(images.num_shards):
        lists = prediction_schema.read_table(images.path(shard), [column])[column]
        values = pa.concat_arrays(lists.chunks).flatten().to_numpy(zero_copy_only=False)
        parts.append(values.reshape(-1, size))
    return np.concatenate(parts)
