import numpy as np
import pyarrow as pa
import pytest

from pseudo_label.predictions import embeddings

#: Every float16 there is.
EVERY = np.arange(2**16, dtype=np.uint16).view(np.float16)


def column(rows, labels=None):
    """A table with the columns that are read; None is no embedding."""
    labels = [None if row is None else 0 for row in rows] if labels is None else labels
    content = [
        row if row is None or isinstance(row, bytes) else np.float16(row).tobytes()
        for row in rows
    ]
    columns = {"label": pa.array(labels, pa.int32())}
    return pa.table({**columns, "embedding": pa.array(content, pa.binary())})


def to_matrix(table, size=2):
    return embeddings.to_matrix(table, size, path="file", first=100)


def test_a_column_has_what_arrow_would_make_of_the_bytes():
    values = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    missing = np.array([False, True, False, False, True])
    found = embeddings.to_column(values, missing)
    expected = column(
        [None if gone else row for row, gone in zip(values, missing, strict=True)]
    )["embedding"]
    found.validate(full=True)
    assert pa.chunked_array([found]) == expected
    assert embeddings.to_column(values, ~missing & missing).null_count == 0


def test_rows_without_a_prediction_are_left_out():
    table = column([[1, 2], None, [3, 4], b"?", [5, 6]], [0, None, 1, None, 2])
    np.testing.assert_array_equal(to_matrix(table), [[1, 2], [3, 4], [5, 6]])
    np.testing.assert_array_equal(to_matrix(table[2:3]), [[3, 4]])
    np.testing.assert_array_equal(to_matrix(table[4:]), [[5, 6]])
    chunks = pa.concat_tables([table[:1], table[2:3]])
    np.testing.assert_array_equal(to_matrix(chunks), [[1, 2], [3, 4]])
    assert to_matrix(table[:0]).shape == (0, 2)


@pytest.mark.parametrize("bad", [[1], [1, 2, 3], [1, np.inf], [np.nan, 1], b"abc"])
def test_what_is_no_embedding_is_named(bad):
    with pytest.raises(ValueError, match=r"file, row 101: expected 2 finite"):
        to_matrix(column([[1, 2], bad]))


def test_a_prediction_without_embedding_is_named():
    with pytest.raises(ValueError, match="row 100"):
        to_matrix(column([None], [0]))


def test_lists_of_earlier_versions_become_bytes():
    rows = [[1, 2], None, [3, 4], []]
    halves = [row if row is None else np.float16(row).tolist() for row in rows]
    lists = pa.chunked_array([pa.array(halves, embeddings.LISTS)])
    found = embeddings.from_lists(lists[1:])
    found.validate(full=True)
    assert pa.chunked_array([found]) == column(rows)["embedding"][1:]


def test_every_finite_float16_becomes_its_float32():
    finite = EVERY[np.isfinite(EVERY)]
    wide = embeddings.widen(finite)
    assert wide.dtype == np.float32
    assert wide.tobytes() == finite.astype(np.float32).tobytes()


def test_rows_that_are_finite_are_found(monkeypatch):
    monkeypatch.setattr(embeddings, "_BLOCK_NUMBERS", 100)
    rows = EVERY.reshape(-1, 16)
    expected = np.isfinite(rows).all(axis=1)
    np.testing.assert_array_equal(embeddings.are_finite(rows), expected)
    assert 0 < expected.sum() < len(rows)
