"""Label spreading as a method: over pixels, and over a classifier's features.

A test image gets the distribution of its nearest neighbors among the labeled and
unlabeled images, which are spread without it.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.methods.draws import DataDraw
from classifier.data.config import ImageConfig
from classifier.data.python_reader import read_examples
from classifier.data.sources import open_source
from classifier.training import presets

#: Number of neighbors in the graph, and share of their labels in an image's own.
NEIGHBORS, ALPHA = 10, 0.9
#: Most iterations of scikit-learn's spreading, which ends when labels change little.
MAX_ITERATIONS = 1_000
#: Settings that the accuracies depend on, part of the recipe's fingerprint.
SETTINGS = (NEIGHBORS, ALPHA, MAX_ITERATIONS)
#: Number of images that pass through a network at once.
_BATCH = 256


def spread_over_pixels(draw: DataDraw) -> float:
    """Returns the accuracy on the test images of scikit-learn's label spreading."""
    from sklearn.semi_supervised import LabelSpreading

    image = presets.tiny().image
    labeled, labels = _map(_flatten, draw, draw.labeled, image)
    unlabeled, _ = _map(_flatten, draw, draw.images, image)
    test, truth = _map(_flatten, draw, draw.evaluation, image)
    model = LabelSpreading(
        kernel="knn", n_neighbors=NEIGHBORS, alpha=ALPHA, max_iter=MAX_ITERATIONS
    )
    given = np.concatenate([labels, np.full(len(unlabeled), -1)])
    model.fit(np.concatenate([labeled, unlabeled]), given)
    return float(np.mean(model.predict(test) == truth))


def spread_over_features(draw: DataDraw, classifier: pathlib.Path) -> float:
    """Returns the accuracy of labels spread over the features of a classifier."""
    from classifier.export.facts import read_facts
    from classifier.export.saved_classifier import rebuild_network
    from classifier.models.embedding import EMBEDDING, with_embedding
    from pseudo_label.propagation.graph import normalize_rows
    from pseudo_label.propagation.spreading import UNLABELED

    image = read_facts(classifier).image
    network = with_embedding(rebuild_network(classifier))

    def embed(pixels: Any) -> Any:
        return network(pixels, training=False)[EMBEDDING]

    labeled, labels = _map(embed, draw, draw.labeled, image)
    unlabeled, _ = _map(embed, draw, draw.images, image)
    test, truth = _map(embed, draw, draw.evaluation, image)
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


def _flatten(pixels: Any) -> NDArray[np.float32]:
    return np.reshape(pixels, (len(pixels), -1)).astype(np.float32)


def _map(
    function: Callable[[Any], Any], draw: DataDraw, spec: str, image: ImageConfig
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Returns rows [N,D], and labels [N], -1 where there is none, of a source.

    Images that cannot be decoded are left out.

    Args:
        function: Returns the rows of pixels [B,S,S,3] as the network sees them.
        draw: The draw.
        spec: One of its sources.
        image: How images are scaled.
    """
    import tensorflow as tf

    from classifier.data import preprocessing, sampling

    source = open_source(spec, data_dir=draw.data_dir)
    examples = [
        example
        for shard in source.shards
        for example in read_examples(source.reader, shard.files)
        if not sampling.why_unusable(example)
    ]
    encoded = tf.data.Dataset.from_tensor_slices([each.image for each in examples])
    pixels = encoded.map(lambda each: preprocessing.evaluation_image(each, image))
    rows = [np.asarray(function(batch)) for batch in pixels.batch(_BATCH)]
    return np.concatenate(rows), np.array([example.label for example in examples])
