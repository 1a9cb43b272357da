"""Generated inputs of the propagation benchmark: predictions with features."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from etils import epath
from numpy.typing import NDArray

from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.schema import EMBEDDING, TRUE_LABEL
from stage import artifact
from stage.status import OK

#: Maximum number of rows per file, as in `benchmarks.selection`.
SHARD_ROWS = 127_000
#: Rows that are generated at once.
BLOCK_ROWS = 2**14
#: Clusters of a class; those of all classes lie among each other.
CLUSTERS_PER_CLASS = 20
#: Directions in which clusters extend, and the standard deviations in these and in all
#: directions. A center's is 1 in each.
DIRECTIONS = 12
DEVIATIONS = (0.3, 0.25)
#: Share of the images whose class the teacher names.
TEACHER_ACCURACY = 0.8


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
    sizes = _shard_sizes(rows)
    config = {
        "teachers": ["none"],
        "class_names": [f"class {label}" for label in range(space.classes)],
        "top_k": space.classes,
        "images": {"rows": rows, "num_shards": len(sizes)},
        "embedding_size": space.features,
        "has_true_labels": True,
        "space": dataclasses.asdict(space),
        "part": part,
    }
    if artifact.start_or_resume(path, config):
        return
    (path / "shards.parquet").touch()  # What the job copies and does not read.
    fingerprint = artifact.config_fingerprint(config, leaving_out="images")
    for index, size in enumerate(sizes):
        file = epath.Path(path) / prediction_schema.shard_name(index)
        with artifact.replacing(file) as temporary, temporary.open("wb") as stream:
            prediction_schema.write_shard(
                stream,
                _make_blocks(space, [part, index], size),
                fingerprint=fingerprint,
                more=[EMBEDDING, TRUE_LABEL],
            )
    artifact.complete(path, seconds=0.0)


def _shard_sizes(rows: int) -> list[int]:
    shards = -(-rows // SHARD_ROWS)
    return [rows // shards + (index < rows % shards) for index in range(shards)]


def _make_blocks(space: FeatureSpace, seed: list[int], size: int) -> Iterator[pa.Table]:
    rng = np.random.default_rng([space.seed, *seed])
    centers, basis = make_clusters(space)
    for start in range(0, size, BLOCK_ROWS):
        rows = min(BLOCK_ROWS, size - start)
        truth, features = draw(rng, centers, basis, rows)
        top_labels, top_probabilities = _make_teacher(rng, truth, space.classes)
        none = np.zeros(rows, bool)
        columns = [
            np.arange(start, start + rows),
            _keys(seed, start, rows),
            rng.integers(0, 2**64, rows, dtype=np.uint64),
            pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(32), rows, [None, pa.py_buffer(rng.bytes(32 * rows))]
            ),
            rng.integers(0, 2**64, rows, dtype=np.uint64),
            pa.repeat(OK, rows),
            pa.repeat("", rows),
            top_labels[:, 0],
            top_probabilities[:, 0],
            prediction_schema.to_lists(top_labels, none),
            prediction_schema.to_lists(top_probabilities, none),
            prediction_schema.to_lists(features, none),
            truth,
        ]
        names = prediction_schema.schema(EMBEDDING, TRUE_LABEL)
        yield pa.table(columns, schema=names)


def make_clusters(
    space: FeatureSpace,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns centers [K,C,D], and the directions [N,D] in which clusters extend."""
    rng = np.random.default_rng([space.seed, 0])
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
    is_right = rng.random(len(truth)) < TEACHER_ACCURACY
    guess = np.where(is_right, truth, rng.integers(0, classes, len(truth)))
    probabilities = rng.random((len(truth), classes), np.float32)
    probabilities[np.arange(len(truth)), guess] += 5 * rng.random(len(truth))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    labels = prediction_schema.top_classes(probabilities, classes)
    return labels.astype(np.int32), np.take_along_axis(probabilities, labels, axis=1)


def _keys(seed: list[int], start: int, rows: int) -> pa.Array:
    numbers = pc.cast(pa.array(np.arange(start, start + rows)), pa.string())
    prefix = "-".join(f"{number:05d}" for number in seed)
    return pc.binary_join_element_wise(prefix, pc.utf8_lpad(numbers, 6, "0"), "#")
