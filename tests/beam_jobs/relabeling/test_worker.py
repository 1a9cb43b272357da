"""A head on stored embeddings, against arithmetic in float64."""

import numpy as np
import pytest
from scipy.special import softmax

from beam_jobs.relabeling import worker
from classifier.export.head import Head
from tests.beam_jobs.relabeling import heads


def draw(rows=50, size=8, seed=0):
    features = np.random.default_rng(seed).standard_normal((rows, size)) * 3
    norms = np.linalg.norm(features, axis=1)
    halves = (features / norms[:, None]).astype(np.float16)
    return halves, norms.astype(np.float32)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("block", [1, 56, 2**17])
def test_probabilities_are_those_of_the_head(monkeypatch, normalize, block):
    monkeypatch.setattr(worker, "_BLOCK_NUMBERS", block)
    head = heads.make_head(normalize=normalize)
    halves, norms = draw()
    labels, top = worker.predict(head, halves, norms, temperature=2.0, top_k=3)
    raw = halves.astype(float) * (1 if normalize else norms[:, None].astype(float))
    expected = softmax((raw @ head.kernel + head.bias) / 2, axis=1)
    order = np.argsort(-expected, axis=1)[:, :3]
    np.testing.assert_array_equal(labels, order)
    np.testing.assert_allclose(top, np.take_along_axis(expected, order, 1), atol=1e-6)


@pytest.mark.parametrize("normalize", [False, True])
def test_what_is_not_finite_has_no_probability(normalize):
    halves, norms = draw(rows=6)
    norms[1:4] = [np.nan, np.inf, 0]
    halves[3] = 0
    head = heads.make_head(normalize=normalize)
    _, top = worker.predict(head, halves, norms, temperature=1.0, top_k=2)
    lost = np.isnan(top)
    np.testing.assert_array_equal(lost.any(axis=1), [0, 1, 1, 0, 0, 0])
    np.testing.assert_array_equal(lost.all(axis=1), lost.any(axis=1))
    huge = Head(np.full((8, 2), 3e38, np.float32), np.zeros(2, np.float32))
    _, top = worker.predict(huge, halves[:1], norms[:1], temperature=1.0, top_k=2)
    assert np.isnan(top).all()


def test_no_rows_are_no_predictions():
    halves, norms = draw(rows=0)
    labels, top = worker.predict(
        heads.make_head(), halves, norms, temperature=1.0, top_k=2
    )
    assert labels.shape == top.shape == (0, 2)
