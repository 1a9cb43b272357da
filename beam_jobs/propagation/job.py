"""The propagation job: its inputs, and what decides its output."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from etils import epath
from numpy.typing import NDArray

from classifier.data.class_names import check_same_classes
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.embeddings import EMBEDDING, EMBEDDING_NORM
from pseudo_label.predictions.prediction_set import PredictionSet, open_predictions
from pseudo_label.predictions.schema import TRUE_LABEL
from pseudo_label.propagation.cells import count_bytes, count_cells, limit_rows
from pseudo_label.propagation.spreading import SpreadingConfig
from stage import artifact
from stage.system import read_in_parallel
from stage.validation import check

#: Directory inside of the output with the centroids and the results of units, which is
#: deleted at the end.
WORK = "cells"
#: Settings of a labeling job that describe columns, and the columns. The output lacks
#: the last, and the others unless they are wanted.
_COLUMNS = {
    "embedding_size": EMBEDDING,
    "has_embedding_norms": EMBEDDING_NORM,
    "has_true_labels": TRUE_LABEL,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PropagationRequest:
    """Values of the flags of `beam_jobs.propagate_labels`, which describe them."""

    predictions: str
    labeled: str
    neighbors: int = SpreadingConfig.neighbors
    alpha: float = SpreadingConfig.alpha
    blend: float = 0.5
    tie_disagreements: bool = True
    exact_images: int = 200_000
    embeddings: bool = False

    def __post_init__(self) -> None:
        check(0 <= self.blend <= 1, f"blend must be in [0, 1], got {self.blend}")
        check(
            self.exact_images >= 1,
            f"exact_images must be at least 1, got {self.exact_images}",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PropagationJob:
    """A propagation job with inputs that belong together.

    Attributes:
        predictions: Predictions of the corpus.
        labeled: Predictions of the labeled images.
        num_labeled: Number of labeled images with a prediction.
        unlabeled_classes: Names of the classes without a labeled image.
        spreading: Settings of graph and spreading.
        blend: Share of the spread labels in the new distributions, in [0, 1].
        tie_disagreements: Whether two different top classes get the same probability.
        num_cells: Number of cells to divide the corpus into, 1 for an exact graph.
        image_bytes: Bytes of an image in a graph.
        max_exact: Largest number of images of an exact graph, those with labels
            included.
        more_columns: Further columns of the new predictions, see
            `pseudo_label.predictions.schema`.
        output: Directory of the new predictions.
        config: Everything that decides their content.
    """

    predictions: PredictionSet
    labeled: PredictionSet
    num_labeled: int
    unlabeled_classes: tuple[str, ...]
    spreading: SpreadingConfig
    blend: float
    tie_disagreements: bool
    num_cells: int
    image_bytes: int
    max_exact: int
    more_columns: Sequence[str]
    output: str
    config: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the settings and inputs, stored in each new file."""
        return artifact.config_fingerprint(self.config, leaving_out="images")

    @property
    def parents(self) -> tuple[str, str]:
        """Directories of the predictions that it is made of."""
        return self.predictions.directory, self.labeled.directory

    @property
    def centroids(self) -> epath.Path:
        """File of the cells, which is written after that of the landmarks."""
        return epath.Path(self.output) / WORK / "cells.parquet"

    @property
    def landmarks(self) -> epath.Path:
        """File of the landmarks and what was spread to them."""
        return epath.Path(self.output) / WORK / "landmarks.parquet"

    @property
    def max_labeled(self) -> int:
        """Largest number of labeled images in the landmarks' graph, half of it."""
        return max(1, self.max_exact // 2)

    @property
    def max_landmarks(self) -> int:
        """Largest number of landmarks, the images without a label in their graph."""
        return self.max_exact - min(self.num_labeled, self.max_labeled)

    def path(self, shard: int) -> epath.Path:
        """Returns the file of a shard's new predictions."""
        return epath.Path(self.output) / prediction_schema.shard_name(shard)

    def unit_path(self, unit: int) -> epath.Path:
        """Returns the file of a unit's result."""
        return epath.Path(self.output) / WORK / f"unit-{unit:05d}.parquet"


def find_missing(path: Callable[[int], epath.Path], numbers: range) -> list[int]:
    """Returns the numbers of shards or units that have no file yet, by one listing."""
    names = {found.name for found in path(0).parent.iterdir()}
    return [number for number in numbers if path(number).name not in names]


def plan(request: PropagationRequest, *, output: str) -> PropagationJob:
    """Returns the job, after checking its inputs."""
    artifact.check_startable(output)
    spreading = SpreadingConfig(neighbors=request.neighbors, alpha=request.alpha)
    predictions = open_predictions(request.predictions)
    predictions.read_shards()  # It is copied at the end.
    labeled = open_predictions(request.labeled)
    _check_sets(predictions, labeled)
    counts = _count_labels(labeled)
    num_labeled = int(counts.sum())
    image_bytes = count_bytes(
        predictions.embedding_size,
        neighbors=request.neighbors,
        top_k=predictions.top_k,
    )
    max_exact = limit_rows(request.exact_images, image_bytes)
    config = _describe(request, spreading, predictions, labeled)
    return PropagationJob(
        predictions=predictions,
        labeled=labeled,
        num_labeled=num_labeled,
        unlabeled_classes=tuple(
            labeled.class_names[label] for label in np.flatnonzero(counts == 0)
        ),
        spreading=spreading,
        blend=request.blend,
        tie_disagreements=request.tie_disagreements,
        num_cells=count_cells(
            predictions.num_images + num_labeled, max_exact=max_exact
        ),
        image_bytes=image_bytes,
        max_exact=max_exact,
        more_columns=[column for name, column in _COLUMNS.items() if config.get(name)],
        output=output,
        config=config,
    )


def _describe(
    request: PropagationRequest,
    spreading: SpreadingConfig,
    predictions: PredictionSet,
    labeled: PredictionSet,
) -> dict[str, Any]:
    """Returns the config of the new predictions, made from that of the old ones."""
    before = artifact.read_config(request.predictions)
    dropped = ["has_true_labels"] if request.embeddings else list(_COLUMNS)
    config = {name: before[name] for name in before if name not in dropped}
    config["propagation"] = {
        **dataclasses.asdict(spreading),
        "blend": request.blend,
        "tie_disagreements": request.tie_disagreements,
        "exact_images": request.exact_images,
        "predictions": predictions.fingerprint,
        "labeled": labeled.fingerprint,
    }
    return config


def warn(job: PropagationJob) -> Iterator[str]:
    """Yields warnings for the user."""
    names, num_classes = job.unlabeled_classes, len(job.labeled.class_names)
    if names:
        yield (
            f"{len(names):,} of {num_classes:,} classes have no labeled image in "
            f"{job.labeled.directory}, first {names[0]!r}: their labels cannot spread"
        )
    wanted = job.config["propagation"]["exact_images"]
    if job.num_cells > 1 and job.max_exact < wanted:
        yield (
            f"an exact graph of --exact_images={wanted} images does not fit into 4 GB, "
            f"one of {job.max_exact} does"
        )


def _check_sets(predictions: PredictionSet, labeled: PredictionSet) -> None:
    """Raises ValueError unless labels can spread from one set to the other."""
    for images in (predictions, labeled):
        check(
            images.embedding_size > 0,
            f"{images.directory} has no embeddings; label the images again with "
            "label_images --embeddings",
        )
    check(
        labeled.has_true_labels,
        f"{labeled.directory} has no labels: label_images --embeddings stores those of "
        "images whose classes are the teacher's (tfrecord: and webdataset: need "
        "--class_names)",
    )
    check_same_classes(predictions.class_names, labeled.class_names, labeled.directory)
    check(
        predictions.has_features_of(labeled),
        f"{labeled.directory} was labeled by other teachers than "
        f"{predictions.directory}: their features cannot be compared; label both with "
        "the same",
    )
    sizes = (predictions.embedding_size, labeled.embedding_size)
    check(
        sizes[0] == sizes[1],
        f"{labeled.directory}: expected embeddings of {sizes[0]} features, got "
        f"{sizes[1]}",
    )


def _count_labels(labeled: PredictionSet) -> NDArray[np.int64]:
    """Returns the number of labeled images with a prediction by class, int64 [K].

    Raises ValueError for a label that is no class, and if there are no labels.
    """
    num_classes = len(labeled.class_names)

    def count(shard: int) -> NDArray[np.int64]:
        rows = prediction_schema.read_table(labeled.path(shard), ["label", TRUE_LABEL])
        labels = rows[TRUE_LABEL].fill_null(0).to_numpy()
        _check_labels(labels, num_classes, labeled.path(shard))
        known = rows[TRUE_LABEL].is_valid().to_numpy()
        is_used = known & rows["label"].is_valid().to_numpy()
        return np.bincount(labels[is_used], minlength=num_classes)

    found = sum(
        read_in_parallel(count, range(labeled.num_shards)), np.zeros(num_classes, int)
    )
    check(bool(found.any()), f"{labeled.directory}: expected labeled images, got none")
    return found


def _check_labels(labels: NDArray[Any], num_classes: int, path: epath.Path) -> None:
    """Raises ValueError for a label that is no class."""
    bad = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(bad):
        raise ValueError(
            f"{path}, row {bad[0]}: expected a {TRUE_LABEL} in 0..{num_classes - 1}, "
            f"got {labels[bad[0]]}"
        )
