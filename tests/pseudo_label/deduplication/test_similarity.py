import numpy as np
import pytest

from pseudo_label.deduplication import similarity

LIMIT = 0.8


def draw(count, seed=0, size=4):
    """Directions, in few dimensions so that many are near each other."""
    drawn = np.random.default_rng(seed).standard_normal((count, size))
    drawn[::7] = drawn[:1]
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float16)


def cosines(some, others):
    some, others = some.astype(float), others.astype(float)
    lengths = np.linalg.norm(some, axis=1)[:, None] * np.linalg.norm(others, axis=1)
    found = some @ others.T / lengths
    assert np.abs(found - LIMIT).min() > 1e-6  # Rounding decides nothing.
    return found


@pytest.fixture(params=[1, 10, 1024])
def block_rows(request, monkeypatch):
    monkeypatch.setattr(similarity, "_BLOCK_ROWS", request.param)


def test_the_first_of_the_similar_rows_before_each(block_rows):
    rows = draw(150)
    near = np.tril(cosines(rows, rows) >= LIMIT, k=-1)
    expected = np.where(near.any(axis=1), near.argmax(axis=1), -1)
    found = similarity.find_earlier(rows, LIMIT)
    np.testing.assert_array_equal(found, expected)
    assert 10 < (found < 0).sum() < 140


def test_the_most_similar_row_for_each(block_rows):
    rows, queries = draw(90), draw(60, seed=1)
    every = cosines(queries, rows)
    found = similarity.find_nearest(queries, rows, LIMIT)
    np.testing.assert_array_equal(found >= 0, every.max(axis=1) >= LIMIT)
    hit = np.flatnonzero(found >= 0)
    best = every.max(axis=1)[hit]
    is_best = every[hit] >= best[:, None] - 1e-6
    np.testing.assert_array_equal(found[hit], is_best.argmax(axis=1))
    assert 3 < len(hit) < 60
    same = similarity.find_nearest(rows[7:8], rows, LIMIT)
    assert same.tolist() == [0]  # Of equal ones the first.


def test_of_equal_rows_the_first_is_the_most_similar(block_rows):
    """At other places of a product, processors round the same cosine differently."""
    rows = np.tile(draw(30, size=50), (7, 1))
    found = similarity.find_nearest(rows, rows, LIMIT)
    first = [np.flatnonzero((rows == row).all(axis=1))[0] for row in rows]
    np.testing.assert_array_equal(found, first)


def test_equal_rows_have_a_cosine_of_one_and_zeros_have_none():
    rows = np.concatenate([draw(20), draw(20), np.zeros((2, 4), np.float16)])
    found = similarity.find_earlier(rows, 1.0)
    assert (found[20:40] >= 0).all()
    assert found[40:].tolist() == [-1, -1]
    assert similarity.find_nearest(rows[40:], rows, 0.01).tolist() == [-1, -1]


def test_no_rows():
    none = np.zeros((0, 4), np.float16)
    assert similarity.find_earlier(none, 0.5).shape == (0,)
    assert similarity.find_nearest(none, draw(3), 0.5).shape == (0,)
    assert similarity.find_nearest(draw(3), none, 0.5).tolist() == [-1] * 3


@pytest.mark.parametrize("value", [0, -0.5, 1.01, float("nan")])
def test_limits_that_are_none(value):
    with pytest.raises(ValueError, match="duplicate_similarity"):
        similarity.check_similarity(value)
