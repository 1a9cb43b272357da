"""Generated inputs of the propagation benchmark: predictions with features."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.measuring import predictions
from pseudo_label.predictions import embeddings
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.embeddings import EMBEDDING
from pseudo_label.predictions.schema import TRUE_LABEL
from stage import shard_list
from stage.status import OK

#: Clusters of a class; those of all classes lie among each other.
CLUSTERS_PER_CLASS = 20
#: Directions in which clusters extend, and the standard deviations in these and in all
#: directions. A center's is 1 in each.
DIRECTIONS = 12
DEVIATIONS = (0.3, 0.25)
#: Share of the images whose class the teacher knows. It guesses the others', and noise
#: of its probabilities hides some: three quarters of its top classes are right.
TEACHER_KNOWS = 0.8
#: What is drawn: the second number of each seed. It is not 0, as zeros at the end of a
#: seed make no other numbers.
_CLUSTERS, _IMAGES = 1, 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureSpace:
    """A mixture of Gaussians, and the number of images that are drawn from it.

    Attributes:
        features: Number D of features.
        classes: Number K of classes.
        labeled: Number of labeled images.
        seed: Seed of clusters and images.
    """

    features: int = 64
    classes: int = 10
    labeled: int = 400
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class PropagationInputs:
    """Directories of predictions: of the images, and of the labeled ones."""

    predictions: pathlib.Path
    labeled: pathlib.Path


def open_inputs(
    directory: pathlib.Path, space: FeatureSpace, *, images: int
) -> PropagationInputs:
    """Returns predictions, deterministic in space and number of images.

    Those already in `directory` are reused. All images have a true label, which the job
    ignores but for the labeled ones.
    """
    sizes = {"images": images, "labeled": space.labeled}
    name = "-".join(map(str, dataclasses.astuple(space)))
    paths = [directory / f"{kind}-{size}-{name}" for kind, size in sizes.items()]
    for part, (path, size) in enumerate(zip(paths, sizes.values(), strict=True)):
        _write(path, space, size, part)
    return PropagationInputs(*paths)


def _write(path: pathlib.Path, space: FeatureSpace, rows: int, part: int) -> None:
    config = {
        "teachers": ["none"],
        "class_names": [f"class {label}" for label in range(space.classes)],
        "top_k": space.classes,
        "embedding_size": space.features,
        "has_true_labels": True,
        "space": dataclasses.asdict(space),
        "part": part,
    }

    def make(index: int, size: int) -> Iterator[pa.Table]:
        return _make_blocks(space, [part, index], size)

    predictions.write(path, config, make, rows=rows, more=[EMBEDDING, TRUE_LABEL])
    (path / shard_list.NAME).touch()  # What the job copies and does not read.


def _make_blocks(space: FeatureSpace, seed: list[int], size: int) -> Iterator[pa.Table]:
    rng = np.random.default_rng([space.seed, _IMAGES, *seed])
    centers, basis = make_clusters(space)
    prefix = "-".join(f"{number:05d}" for number in seed)
    for start, rows in predictions.block_ranges(size):
        truth, features = draw(rng, centers, basis, rows)
        top_labels, top_probabilities = _make_teacher(rng, truth, space.classes)
        none = np.zeros(rows, bool)
        columns = [
            np.arange(start, start + rows),
            predictions.make_keys(prefix, start, rows),
            predictions.draw_hashes(rng, rows),
            pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(32), rows, [None, pa.py_buffer(rng.bytes(32 * rows))]
            ),
            predictions.draw_hashes(rng, rows),
            pa.repeat(OK, rows),
            pa.repeat("", rows),
            top_labels[:, 0],
            top_probabilities[:, 0],
            prediction_schema.to_lists(top_labels, none),
            prediction_schema.to_lists(top_probabilities, none),
            embeddings.to_column(features, none),
            truth,
        ]
        names = prediction_schema.schema(EMBEDDING, TRUE_LABEL)
        yield pa.table(columns, schema=names)


def make_clusters(
    space: FeatureSpace,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns centers [K,C,D], and the directions [N,D] in which clusters extend."""
    rng = np.random.default_rng([space.seed, _CLUSTERS])
    shape = (space.classes, CLUSTERS_PER_CLASS, space.features)
    centers = rng.standard_normal(shape, np.float32)
    basis = rng.standard_normal((DIRECTIONS, space.features), np.float32)
    return centers, basis * np.float32(DEVIATIONS[0])


def draw(
    rng: np.random.Generator,
    centers: NDArray[np.float32],
    basis: NDArray[np.float32],
    count: int,
) -> tuple[NDArray[np.int32], NDArray[np.float16]]:
    """Returns classes [B] and features [B,D] of length 1 of so many images.

    Of the clusters of a class, the first is the most frequent, by Zipf's law.
    """
    classes, clusters, size = centers.shape
    truth = rng.integers(0, classes, count, dtype=np.int32)
    shares = 1 / np.arange(1, clusters + 1)
    cluster = rng.choice(clusters, count, p=shares / shares.sum())
    features = centers[truth, cluster]
    features += rng.standard_normal((count, len(basis)), np.float32) @ basis
    noise = rng.standard_normal((count, size), np.float32)
    features += np.float32(DEVIATIONS[1]) * noise
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return truth, features.astype(np.float16)


def _make_teacher(
    rng: np.random.Generator, truth: NDArray[np.int32], classes: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Returns classes and probabilities [B,K] of a teacher, the highest first."""
    is_known = rng.random(len(truth)) < TEACHER_KNOWS
    guess = np.where(is_known, truth, rng.integers(0, classes, len(truth)))
    probabilities = rng.random((len(truth), classes), np.float32)
    probabilities[np.arange(len(truth)), guess] += 5 * rng.random(len(truth))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    labels = prediction_schema.top_classes(probabilities, classes)
    return labels.astype(np.int32), np.take_along_axis(probabilities, labels, axis=1)
