"""Synthetic embeddings: K clouds with heavy tails behind a rectifier."""

import hashlib

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from classifier.probing.embeddings import LabeledEmbeddings


class World:
    """Classes to draw images from."""

    def __init__(self, seed, *, num_classes=5, size=32, spread=0.8):
        rng = np.random.default_rng(seed)
        self.means = rng.normal(size=(num_classes, 12)) * spread
        self.mix = rng.normal(size=(12, size)) / 12**0.5

    def draw(self, count, seed):
        """Returns embeddings and labels; the first K labels are 0..K-1."""
        rng = np.random.default_rng(seed)
        num_classes = len(self.means)
        labels = rng.integers(0, num_classes, count)
        labels[:num_classes] = np.arange(num_classes)
        latent = self.means[labels] + rng.standard_t(4, size=(count, 12)) * 0.6
        noise = 0.3 * rng.normal(size=(count, self.mix.shape[1]))
        return np.maximum(latent @ self.mix + noise, 0).astype(np.float32), labels


def digest(content):
    return hashlib.sha256(str(content).encode()).hexdigest()


def label(embeddings, labels, contents=None):
    """Returns labeled images; equal contents are copies of one image."""
    keys = [str(row) for row in range(len(labels))]
    digests = [digest(content) for content in (contents or keys)]
    return LabeledEmbeddings(keys, digests, np.asarray(labels, np.int64), embeddings)


class Scaler(TransformerMixin, BaseEstimator):
    """The scaling of a probe as a step of scikit-learn's."""

    def fit(self, embeddings, labels=None):
        self.mean_ = embeddings.mean(axis=0)
        variance = embeddings.var(axis=0)
        self.scale_ = np.maximum(variance, variance.mean()) ** 0.5
        return self

    def transform(self, embeddings):
        return (embeddings - self.mean_) / self.scale_
