"""scikit-learn's own pipeline is the oracle."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from classifier.inference.probabilities import softmax
from classifier.probing import logistic_regression
from classifier.probing.logistic_regression import fit_head, scaling
from tests.classifier.probing.embeddings_of_classes import Scaler, World


def fit_pipeline(embeddings, labels, c):
    regression = LogisticRegression(C=c, max_iter=1_000, tol=1e-8)
    return make_pipeline(Scaler(), regression).fit(
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


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_scale_and_mean_of_the_features_do_not_matter(factor):
    embeddings, labels = World(1).draw(50, 0)
    shifts = np.linspace(-5, 5, embeddings.shape[1]).astype(np.float32)
    head = fit_head(embeddings, labels, c=0.1)
    moved = (embeddings + shifts) * np.float32(factor)
    np.testing.assert_allclose(
        fit_head(moved, labels, c=0.1).logits(moved), head.logits(embeddings), atol=2e-2
    )


@pytest.mark.parametrize("value", [0.0, 0.3, -700.0])
def test_features_that_are_constant_have_no_effect(value):
    embeddings, labels = World(1).draw(50, 0)
    rng = np.random.default_rng(0)
    constant = value * (1 + 1e-7 * rng.normal(size=(50, 3)))
    wider = np.concatenate([embeddings, constant.astype(np.float32)], axis=1)
    found = fit_head(wider, labels, c=0.1)
    assert np.abs(found.kernel[-3:]).max() < 1e-3
    unseen, truth = World(1).draw(1_000, 1)
    with_others = np.concatenate([unseen, np.full((1_000, 3), value, np.float32)], 1)
    head = fit_head(embeddings, labels, c=0.1)
    right = (found.logits(with_others).argmax(axis=1) == truth).mean()
    assert right == pytest.approx(
        (head.logits(unseen).argmax(axis=1) == truth).mean(), abs=0.01
    )


def test_a_feature_that_is_almost_always_zero_does_not_decide():
    """It is there in one labeled image, barely, and in an unseen one clearly."""
    embeddings, labels = World(1).draw(50, 0)
    rare = np.zeros((50, 1), np.float32)
    rare[7] = 1e-3
    head = fit_head(np.concatenate([embeddings, rare], axis=1), labels, c=0.1)
    unseen, _ = World(1).draw(200, 1)
    without, with_it = (
        head.logits(np.concatenate([unseen, np.full((200, 1), value, np.float32)], 1))
        for value in (0.0, 1.0)
    )
    np.testing.assert_array_equal(without.argmax(axis=1), with_it.argmax(axis=1))


def test_features_that_are_all_constant_are_left_as_they_are():
    mean, scale = scaling(np.ones((4, 3), np.float32))
    np.testing.assert_array_equal([mean, scale], np.ones((2, 3)))


def test_the_scaling_is_the_same_in_parts(monkeypatch):
    embeddings, _ = World(1).draw(50, 0)
    whole = scaling(embeddings)
    monkeypatch.setattr(logistic_regression, "_PART_BYTES", embeddings.nbytes // 5)
    np.testing.assert_array_equal(scaling(embeddings), whole)


def test_one_image_of_each_class_is_enough():
    embeddings, labels = World(2, num_classes=20).draw(20, 0)
    head = fit_head(embeddings, labels, c=1e-2)
    np.testing.assert_array_equal(head.logits(embeddings).argmax(axis=1), labels)


def test_it_is_the_same_every_time():
    embeddings, labels = World(2).draw(200, 0)
    heads = [fit_head(embeddings, labels, c=0.1) for _ in range(2)]
    np.testing.assert_array_equal(heads[0].kernel, heads[1].kernel)
    np.testing.assert_array_equal(heads[0].bias, heads[1].bias)
