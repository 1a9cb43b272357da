"""Multinomial logistic regression on scaled embeddings, by scikit-learn."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from classifier.export.head import Head

#: Maximum number of iterations; a few dozen are usual.
_MAX_ITERATIONS = 1_000
#: Multiplications of a product of matrices from which threads are worth starting.
_MIN_SHARED = 10**8
#: Bytes of the features whose scaling is computed at once.
_PART_BYTES = 2**28


def fit_head(
    embeddings: NDArray[np.float32], labels: NDArray[np.int64], *, c: float
) -> Head:
    """Returns the head that fits the labels best.

    It minimizes the sum of the cross-entropy over the images plus the squared weights,
    without biases, over 2 C. Weights are of scaled features, see `scaling`; the head
    takes the embeddings as they are.

    Args:
        embeddings: float32 [N,D].
        labels: [N] in 0..K-1; every class has an image.
        c: Inverse strength of the regularization, positive.
    """
    mean, scale = scaling(embeddings)
    scaled = embeddings - mean
    scaled /= scale
    regression = LogisticRegression(C=c, max_iter=_MAX_ITERATIONS)
    num_products = embeddings.size * (int(labels.max()) + 1)
    threads = None if num_products >= _MIN_SHARED else 1
    with threadpool_limits(threads), warnings.catch_warnings():
        # What is left to gain after so many iterations is within rounding.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # With one or two images of most classes, it suspects a regression.
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        regression.fit(scaled, labels)
    weights, biases = regression.coef_, regression.intercept_
    if len(weights) == 1:  # Of two classes scikit-learn has the difference.
        weights = np.concatenate([-weights, weights]) / 2
        biases = np.concatenate([-biases, biases]) / 2
    kernel = weights.astype(np.float64) / scale
    return Head(
        kernel.T.astype(np.float32), (biases - kernel @ mean).astype(np.float32)
    )


def scaling(
    embeddings: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns what features [N,D] are reduced and then divided by, both [D].

    A feature is divided by its standard deviation, but at least by the root mean square
    of those of all. So one that is almost always 0 in these images stays small in
    others, where its own deviation could make it larger than all others together.
    """
    # In parts, as NumPy makes a float64 of each number.
    parts = np.array_split(embeddings, 1 + embeddings.nbytes // _PART_BYTES, axis=1)
    mean, deviation = (
        np.concatenate([find(part, axis=0, dtype=np.float64) for part in parts])
        for find in (np.mean, np.std)
    )
    scale = np.maximum(deviation, np.sqrt(np.mean(deviation**2)) or 1.0)
    return mean.astype(np.float32), scale.astype(np.float32)
