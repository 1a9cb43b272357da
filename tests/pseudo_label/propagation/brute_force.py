"""Graph and spreading as dense matrices, without any of the project's code."""

import numpy as np


def unit(features):
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(lengths > 0, lengths, 1)


def graph(features, neighbors, queries=None):
    """Weights [N,N]: clipped cosines of the pairs of which one lists the other."""
    cosines = unit(np.asarray(features, np.float64)) @ unit(features).T
    np.fill_diagonal(cosines, -np.inf)
    listed = np.zeros_like(cosines, dtype=bool)
    for row in range(len(features)) if queries is None else queries:
        listed[row, np.argsort(-cosines[row])[:neighbors]] = True
    return np.where(listed | listed.T, np.maximum(cosines, 0), 0)


def spread(weights, labels, num_classes, alpha, more=0):
    """Distributions [N,K] by the equations' solution: (I - alpha S) F = (1 - alpha) Y.

    The inverse is the product of I + (alpha S)^n for n = 1, 2, 4, ... 2048: positive
    numbers, of which the smallest, too, are right to the last digits. Rows that no
    label reaches are zeros. `more` [N,K] is added to the labels in Y.
    """
    degrees = weights.sum(axis=1)
    scale = 1 / np.sqrt(np.where(degrees > 0, degrees, 1))
    normalized = weights * scale[:, None] * scale
    given = np.zeros((len(labels), num_classes))
    known = labels >= 0
    given[known, labels[known]] = 1 - alpha
    given += (1 - alpha) * more
    spread, power = given, alpha * normalized
    for _ in range(12):
        spread = spread + power @ spread
        power = power @ power
    total = spread.sum(axis=1, keepdims=True)
    return spread / np.where(total > 0, total, 1)
