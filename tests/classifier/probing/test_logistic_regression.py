"""scikit-learn's own pipeline is the oracle."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from classifier.inference.probabilities import softmax
from classifier.probing.logistic_regression import fit_head, standardization
from tests.classifier.probing.embeddings_of_classes import World


def fit_pipeline(embeddings, labels, c):
    regression = LogisticRegression(C=c, max_iter=1_000, tol=1e-8)
    return make_pipeline(StandardScaler(), regression).fit(
        embeddings.astype(np.float64), labels
    )


@pytest.mark.parametrize(
    ("num_classes", "count", "size"), [(2, 60, 8), (5, 90, 32), (5, 20, 300)]
)
@pytest.mark.parametrize("c", [1e-3, 0.1, 1.0])
def test_it_predicts_as_scikit_learn_does(num_classes, count, size, c):
    world = World(3, num_classes=num_classes, size=size)
    embeddings, labels = world.draw(count, 0)
    unseen, _ = world.draw(400, 1)
    head = fit_head(embeddings, labels, c=c)
    expected = fit_pipeline(embeddings, labels, c).predict_proba(
        unseen.astype(np.float64)
    )
    found = softmax(head.logits(unseen))
    np.testing.assert_allclose(found, expected, atol=0.02)
    sure = np.sort(expected, axis=1)[:, -1] - np.sort(expected, axis=1)[:, -2] > 0.02
    assert sure.mean() > 0.5
    np.testing.assert_array_equal(
        found.argmax(axis=1)[sure], expected.argmax(axis=1)[sure]
    )


def test_the_head_takes_what_was_not_standardized():
    embeddings, labels = World(1).draw(50, 0)
    factors = np.geomspace(1e-3, 1e3, embeddings.shape[1]).astype(np.float32)
    shifts = np.linspace(-5, 5, embeddings.shape[1]).astype(np.float32) * factors
    head = fit_head(embeddings, labels, c=0.1)
    moved = fit_head(embeddings * factors + shifts, labels, c=0.1)
    np.testing.assert_allclose(
        moved.logits(embeddings * factors + shifts), head.logits(embeddings), atol=2e-2
    )


@pytest.mark.parametrize("value", [0.0, 0.3, -700.0])
def test_features_that_are_constant_have_no_effect(value):
    embeddings, labels = World(1).draw(50, 0)
    rng = np.random.default_rng(0)
    head = fit_head(embeddings, labels, c=0.1)
    constant = value * (1 + 1e-7 * rng.normal(size=(50, 3)))
    wider = np.concatenate([embeddings, constant.astype(np.float32)], axis=1)
    found = fit_head(wider, labels, c=0.1)
    np.testing.assert_allclose(found.kernel[:-3], head.kernel, atol=1e-3)
    assert np.abs(found.kernel[-3:]).max() < 1e-3
    assert (standardization(wider)[1][-3:] == 1).all()


def test_one_image_of_each_class_is_enough():
    embeddings, labels = World(2, num_classes=20).draw(20, 0)
    head = fit_head(embeddings, labels, c=1e-2)
    np.testing.assert_array_equal(head.logits(embeddings).argmax(axis=1), labels)


def test_it_is_the_same_every_time():
    embeddings, labels = World(2).draw(200, 0)
    heads = [fit_head(embeddings, labels, c=0.1) for _ in range(2)]
    np.testing.assert_array_equal(heads[0].kernel, heads[1].kernel)
    np.testing.assert_array_equal(heads[0].bias, heads[1].bias)
