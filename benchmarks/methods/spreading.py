"""Label spreading as a method: over pixels, and over a classifier's features.

A test image gets the distribution of its nearest neighbors among the labeled and
unlabeled images, which are spread without it.
"""

from __future__ import annotations

import io
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.methods.draws import DataDraw
from classifier.data.examples import Example
from classifier.data.python_reader import read_examples
from classifier.data.sources import open_source

#: Number of neighbors in the graph, and share of their labels in an image's own.
NEIGHBORS, ALPHA = 10, 0.9
#: Side in pixels to which larger images are reduced: the network's.
SIZE = 32
#: Settings that the accuracies depend on, part of the recipe's fingerprint.
SETTINGS = (NEIGHBORS, ALPHA, SIZE)
#: Images that pass through a network at once.
_BATCH = 256


def spread_over_pixels(draw: DataDraw) -> float:
    """Returns the accuracy on the test images of scikit-learn's label spreading."""
    from sklearn.semi_supervised import LabelSpreading

    labeled, labels = _pixels(draw, draw.labeled)
    unlabeled, _ = _pixels(draw, draw.images)
    test, truth = _pixels(draw, draw.evaluation)
    model = LabelSpreading(kernel="knn", n_neighbors=NEIGHBORS, alpha=ALPHA)
    given = np.concatenate([labels, np.full(len(unlabeled), -1)])
    model.fit(np.concatenate([labeled, unlabeled]), given)
    return float(np.mean(model.predict(test) == truth))


def spread_over_features(draw: DataDraw, classifier: pathlib.Path) -> float:
    """Returns the accuracy of labels spread over the features of a classifier."""
    from pseudo_label.propagation.graph import normalize_rows
    from pseudo_label.propagation.spreading import UNLABELED

    featurize = _Featurizer(classifier)
    labeled, labels = featurize(draw, draw.labeled)
    unlabeled, _ = featurize(draw, draw.images)
    test, truth = featurize(draw, draw.evaluation)
    known = normalize_rows(np.concatenate([labeled, unlabeled]))
    given = np.concatenate([labels, np.full(len(unlabeled), UNLABELED)])
    distributions = spread_labels(known, given, num_classes=len(draw.class_names))
    predicted = predict(normalize_rows(test), known, distributions)
    return float(np.mean(predicted == truth))


def spread_labels(
    features: NDArray[np.float32], given: NDArray[Any], *, num_classes: int
) -> NDArray[np.float32]:
    """Returns the distributions float32 [N,K] of rows by the labels around them.

    Those of labeled rows are their labels; those that no label reaches are zeros.

    Args:
        features: float32 [N,D] of length 1.
        given: [N] labels, `UNLABELED` where there is none.
        num_classes: K.
    """
    from pseudo_label.propagation import spreading
    from pseudo_label.propagation.graph import build_graph

    every = np.arange(len(features))
    graph = build_graph(features, every, neighbors=NEIGHBORS, threads=1)
    config = spreading.SpreadingConfig(neighbors=NEIGHBORS, alpha=ALPHA)
    found = spreading.find_top_labels(graph, given, config, top_k=num_classes)
    distributions = np.zeros((len(features), num_classes), np.float32)
    rows, columns = np.nonzero(found.shares)  # Of other classes, labels mean nothing.
    distributions[rows, found.labels[rows, columns]] = found.shares[rows, columns]
    is_labeled = given != spreading.UNLABELED
    distributions[is_labeled] = np.eye(num_classes)[given[is_labeled]]
    return distributions


def predict(
    queries: NDArray[Any], known: NDArray[Any], distributions: NDArray[Any]
) -> NDArray[np.int64]:
    """Returns the classes [Q] of rows by their nearest known rows.

    Rows are of length 1, their weights the cosines; `distributions` [N,K] are those of
    the known rows.
    """
    import faiss

    metric = faiss.METRIC_INNER_PRODUCT
    cosines, nearest = faiss.knn(queries, known, NEIGHBORS, metric=metric)
    mixed = np.einsum("qn,qnk->qk", np.maximum(cosines, 0), distributions[nearest])
    classes: NDArray[np.int64] = mixed.argmax(axis=1)
    return classes


class _Featurizer:
    """Maps the images of a source to their features."""

    def __init__(self, classifier: pathlib.Path) -> None:
        from classifier.export.facts import read_facts
        from classifier.export.saved_classifier import rebuild_network
        from classifier.models.embedding import with_embedding

        self._image = read_facts(classifier).image
        self._network = with_embedding(rebuild_network(classifier))

    def __call__(self, draw: DataDraw, spec: str) -> tuple[NDArray[Any], NDArray[Any]]:
        """Returns features [N,D] and labels [N], -1 where there is none."""
        import tensorflow as tf

        from classifier.data import preprocessing
        from classifier.models.embedding import EMBEDDING

        examples = list(_read(draw, spec))
        features = []
        for start in range(0, len(examples), _BATCH):
            encoded = [example.image for example in examples[start : start + _BATCH]]
            pixels = preprocessing.evaluation_images(tf.constant(encoded), self._image)
            found = self._network(pixels, training=False)
            features.append(np.asarray(found[EMBEDDING]))
        return np.concatenate(features), _labels(examples)


def _pixels(draw: DataDraw, spec: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Returns pixels [N,D] in [0, 1] and labels [N]."""
    examples = list(_read(draw, spec))
    rows = [_decode(example.image) for example in examples]
    return np.stack(rows), _labels(examples)


def _decode(encoded: bytes) -> NDArray[Any]:
    image = Image.open(io.BytesIO(encoded)).convert("RGB")
    if max(image.size) > SIZE:
        image = image.resize((SIZE, SIZE), Image.Resampling.BOX)
    return np.asarray(image, np.float32).reshape(-1) / 255


def _labels(examples: list[Example]) -> NDArray[Any]:
    return np.array([example.label for example in examples])


def _read(draw: DataDraw, spec: str) -> Iterator[Example]:
    source = open_source(spec, data_dir=draw.data_dir)
    for shard in source.shards:
        yield from read_examples(source.reader, shard.files)
