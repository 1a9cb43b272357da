import dataclasses
import hashlib
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.schema import Block


def make_block(first_index=0):
    probabilities = [[0.2, 0.5, 0.3], [0.0, 0.0, 0.0], [0.4, 0.2, 0.4]]
    rng = np.random.default_rng(0)
    return Block(
        first_index=first_index,
        keys=["a#0", "a#1", "ä#2"],
        images=[b"first", b"", b"third"],
        status=["ok", "empty", "ok"],
        errors=["", "no bytes", ""],
        probabilities=np.array(probabilities, np.float32),
        pixels=rng.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8),
    )


def test_a_table_has_a_row_for_every_image_in_order():
    rows = prediction_schema.to_table(make_block(first_index=7), top_k=2).to_pylist()
    assert [row["record_index"] for row in rows] == [7, 8, 9]
    assert [row["key"] for row in rows] == ["a#0", "a#1", "ä#2"]
    assert rows[0]["image_sha256"] == hashlib.sha256(b"first").digest()
    assert rows[0]["label"] == 1
    assert rows[0]["confidence"] == 0.5
    assert rows[0]["top_labels"] == [1, 2]
    np.testing.assert_allclose(rows[0]["top_probabilities"], [0.5, 0.3])


def test_a_row_without_a_prediction_has_a_reason_and_nulls():
    row = prediction_schema.to_table(make_block(), top_k=2).to_pylist()[1]
    assert (row["status"], row["error"]) == ("empty", "no bytes")
    for name in ("label", "confidence", "top_labels", "perceptual_hash"):
        assert row[name] is None


def test_of_equal_probabilities_the_lower_label_comes_first():
    row = prediction_schema.to_table(make_block(), top_k=3).to_pylist()[2]
    assert row["top_labels"] == [0, 2, 1]


def test_a_shard_comes_back_as_it_was_written_and_counts_its_rows(tmp_path):
    tables = [prediction_schema.to_table(make_block(i), top_k=2) for i in (0, 3)]
    path = tmp_path / "shard"
    with path.open("wb") as file:
        counts = prediction_schema.write_shard(file, iter(tables), fingerprint="abc")
    assert counts == {"ok": 4, "empty": 2}
    facts = prediction_schema.read_facts(path)
    assert (facts.num_rows, facts.fingerprint) == (6, "abc")
    assert facts.status_counts == counts
    columns = ["key", "top_labels"]
    found = pa.concat_tables(prediction_schema.read_rows(path, columns))
    assert found.to_pylist() == pa.concat_tables(tables).select(columns).to_pylist()


def test_an_empty_shard_is_a_file_without_rows(tmp_path):
    path = tmp_path / "shard"
    with path.open("wb") as file:
        prediction_schema.write_shard(file, iter([]), fingerprint="abc")
    assert prediction_schema.read_facts(path).num_rows == 0


def test_a_broken_file_is_named(tmp_path):
    path = tmp_path / "shard"
    with pytest.raises(FileNotFoundError):
        prediction_schema.read_facts(path)
    with path.open("wb") as file:
        prediction_schema.write_shard(file, iter([]), fingerprint="abc")
    whole = path.read_bytes()
    other = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), other)
    for content in (b"", b"text", whole[:-9], other.getvalue()):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="shard"):
            prediction_schema.read_facts(path)


def test_the_same_rows_give_the_same_bytes():
    files = []
    for _ in range(2):
        file = io.BytesIO()
        tables = [prediction_schema.to_table(make_block(), top_k=2)]
        prediction_schema.write_shard(file, iter(tables), fingerprint="abc")
        files.append(file.getvalue())
    assert files[0] == files[1]


def test_small_tables_are_gathered_in_groups(monkeypatch):
    monkeypatch.setattr(prediction_schema, "_GROUP_ROWS", 7)
    rows = pa.concat_tables(
        prediction_schema.to_table(make_block(i), top_k=2) for i in range(0, 18, 3)
    )
    file = io.BytesIO()
    tables = iter([rows[:2], rows[2:8], rows[8:]])
    prediction_schema.write_shard(file, tables, fingerprint="abc")
    written = pq.ParquetFile(file)
    sizes = [written.metadata.row_group(i).num_rows for i in range(2)]
    assert (written.num_row_groups, sizes) == (2, [8, 10])
    assert written.read().to_pylist() == rows.to_pylist()


def test_key_hashes_are_the_same_everywhere():
    """Golden: selections of old predictions must not change with the code."""
    assert prediction_schema.hash_key("unlabeled#0") == 8443685167594500704
    assert prediction_schema.hash_key("") == 13020603013274838756


def test_embeddings_and_true_labels_come_back(tmp_path, monkeypatch):
    embeddings = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    block = dataclasses.replace(
        make_block(),
        embeddings=embeddings,
        embedding_norms=np.array([2, 1, np.inf], np.float32),
        true_labels=np.array([2, 1, -1]),
    )
    tables = [prediction_schema.to_table(block, top_k=2)]
    tables.append(
        prediction_schema.to_table(dataclasses.replace(block, first_index=3), top_k=2)
    )
    monkeypatch.setattr(prediction_schema, "_GROUP_EMBEDDING_BYTES", 16)
    more = ("embedding", "embedding_norm", "true_label")
    path = tmp_path / "shard"
    with path.open("wb") as file:
        prediction_schema.write_shard(file, iter(tables), fingerprint="f", more=more)
    assert pq.ParquetFile(path).num_row_groups == 2
    rows = prediction_schema.read_table(path, ["key", *more]).to_pylist()
    half = embeddings.astype(np.float16)
    expected = [half[0].tobytes(), None, half[2].tobytes()]
    assert [row["embedding"] for row in rows] == expected * 2
    assert [row["embedding_norm"] for row in rows] == [2, None, np.inf] * 2
    assert [row["true_label"] for row in rows] == [2, 1, None] * 2


def test_embeddings_of_an_earlier_version_are_read_as_those_of_this_one(
    tmp_path, monkeypatch
):
    """Those were lists of float16."""
    embeddings = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    block = dataclasses.replace(make_block(), embeddings=embeddings)
    table = prediction_schema.to_table(block, top_k=2)
    lists = pa.array(
        [
            [*row] if ok else None
            for row, ok in zip(embeddings.astype(np.float16), [1, 0, 1], strict=True)
        ],
        pa.list_(pa.float16()),
    )
    at = table.schema.get_field_index("embedding")
    tables = iter([table.set_column(at, "embedding", lists)])
    now = prediction_schema.schema("embedding")
    former = now.set(at, pa.field("embedding", lists.type))
    monkeypatch.setattr(prediction_schema, "schema", lambda *more: former)
    path = tmp_path / "shard"
    with path.open("wb") as file:
        prediction_schema.write_shard(file, tables, fingerprint="f")
    monkeypatch.setattr(prediction_schema, "schema", lambda *more: now)
    assert prediction_schema.read_table(path, ["embedding"]) == table.select(
        ["embedding"]
    )
