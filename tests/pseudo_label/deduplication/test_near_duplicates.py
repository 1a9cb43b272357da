import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudo_label.deduplication import hamming_index, near_duplicates
from pseudo_label.predictions import schema as prediction_schema
from tests import duplicate_corpus

BITS = range(hamming_index.MAX_BITS + 1)


def to_rows(images, shards=1):
    rows = near_duplicates.find_candidates(
        images.to_table(), np.array([], int), shard=0
    )
    rows["shard"], rows["row"] = rows["row"] % shards, rows["row"] // shards
    return rows


def read_keys_of(images, shards=1):
    return lambda shard, row: images.keys[row * shards + shard].tolist()


def find(images, *, bits, shards=1):
    """By index the indices of the matches that tables have found."""
    found = {}
    for table in range(len(hamming_index.masks(bits))):
        matches = near_duplicates.match_duplicates(
            to_rows(images, shards),
            read_keys_of(images, shards),
            bits=bits,
            table=table,
        )
        for match in matches:
            other = int(match["match_row"] * shards + match["match_shard"])
            index = int(match["row"] * shards + match["shard"])
            found.setdefault(index, []).append(other)
            assert match["match_set"] == 0
            difference = images.hashes[index] ^ images.hashes[other]
            assert match["distance"] == np.bitwise_count(difference)
    return found


def expected(images, *, bits):
    may_be = np.flatnonzero(images.ok & images.has_hash)
    found = duplicate_corpus.find_duplicates(images.take(may_be), bits=bits)
    return {int(may_be[index]): int(may_be[match]) for index, match in found.items()}


@pytest.mark.parametrize("bits", BITS)
@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32), count=st.integers(0, 80), shards=st.integers(1, 9))
def test_equals_brute_force(bits, seed, count, shards):
    rng = np.random.default_rng(seed)
    pool = rng.integers(0, 2**64, 4, dtype=np.uint64)
    images = duplicate_corpus.make_images(rng, count, prefix="k", pool=pool)
    rank = duplicate_corpus.rank(images)
    best = {
        index: min(found, key=lambda match: rank[match])
        for index, found in find(images, bits=bits, shards=shards).items()
    }
    assert best == expected(images, bits=bits)


def make_three(labels):
    """Images whose hashes are one and two bits from the first's, the best first."""
    return duplicate_corpus.Images(
        keys=np.array(["a", "b", "c"], object),
        key_hash=np.zeros(3, np.uint64),
        confidence=np.array([0.9, 0.8, 0.7], np.float32),
        labels=np.array(labels, np.int32),
        hashes=np.array([0b00, 0b01, 0b11], np.uint64),
        has_hash=np.ones(3, bool),
        digests=np.zeros((3, 4), np.uint64),
        embeddings=np.zeros((3, duplicate_corpus.SIZE), np.float16),
    )


def test_a_better_one_counts_though_it_is_a_duplicate_itself():
    assert find(make_three([1, 1, 1]), bits=1) == {1: [0], 2: [1]}


def test_only_a_better_one_of_the_same_class_counts():
    assert find(make_three([1, 0, 1]), bits=1) == {}
    assert set(find(make_three([1, 0, 1]), bits=2)) == {2}
    assert find(make_three([0, 1, 1]), bits=1) == {2: [1]}


def test_classes_are_told_apart_though_their_numbers_for_sorting_are_equal(
    monkeypatch,
):
    monkeypatch.setattr(near_duplicates, "MULTIPLIER", np.uint64(0))
    images = make_three([0, 1, 0])
    images.hashes[:] = 7
    assert find(images, bits=0) == {2: [0]}
    best, represented = near_duplicates.best_of_hash(
        to_rows(images), read_keys_of(images)
    )
    assert best["row"].tolist() == [0, 1]
    assert represented.tolist() == [(2, 0)]


def test_keys_are_read_of_ties_alone():
    rng = np.random.default_rng(0)
    images = duplicate_corpus.make_images(
        rng, 50, prefix="k", pool=np.zeros(1, np.uint64)
    )
    images.key_hash[:] = np.arange(50)

    def refuse(shards, rows):
        raise RuntimeError("no keys are needed")

    rows = to_rows(images)
    assert len(near_duplicates.match_duplicates(rows, refuse, bits=2, table=0))


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32), count=st.integers(0, 60))
def test_the_best_of_each_hash_represents_the_others(seed, count):
    rng = np.random.default_rng(seed)
    pool = rng.integers(0, 2**64, 4, dtype=np.uint64)
    images = duplicate_corpus.make_images(rng, count, prefix="k", pool=pool, spread=1)
    rows = to_rows(images)
    best, represented = near_duplicates.best_of_hash(rows, read_keys_of(images))
    assert sorted([*best["row"], *represented["row"]]) == rows["row"].tolist()
    assert len(np.unique(best[["hash", "label"]])) == len(best)
    rank, like = duplicate_corpus.rank(images), dict(represented.tolist())
    for row in rows["row"].tolist():
        same = images.ok & images.has_hash & (images.hashes == images.hashes[row])
        same &= images.labels == images.labels[row]
        first = min(np.flatnonzero(same), key=rank.__getitem__)
        assert like.get(row, row) == first


def test_a_million_alike_are_one_row_to_compare():
    rows = np.zeros(10**6, near_duplicates.CANDIDATE)
    rows["row"] = np.arange(10**6)
    rows["key_hash"] = rows["row"][::-1]
    best, represented = near_duplicates.best_of_hash(rows, lambda shards, rows: [])
    assert best["row"].tolist() == [10**6 - 1]
    assert set(represented["representative"].tolist()) == {10**6 - 1}


def test_digests_survive_chunks_and_slices():
    digests = [bytes([i]) * 32 for i in range(9)]
    column = pa.chunked_array([digests[:4], digests[4:]], pa.binary(32))
    for start in range(9):
        words = near_duplicates.to_digests(column.slice(start))
        assert [word.tobytes() for word in words] == digests[start:]
    assert near_duplicates.to_digests(column.slice(9)).shape == (0, 4)
    assert near_duplicates.to_digests(pa.chunked_array([], pa.binary(32))).shape == (
        0,
        4,
    )


def test_dropped_rows_are_read_back(tmp_path):
    assert near_duplicates.read_dropped(tmp_path, 3).tolist() == []
    columns = {name: [None, None] for name in near_duplicates.dropped_schema().names}
    columns["record_index"] = [2, 7]
    rows = pa.table(columns, schema=near_duplicates.dropped_schema())
    near_duplicates.write_dropped(tmp_path, 3, rows)
    assert near_duplicates.read_dropped(tmp_path, 3).tolist() == [2, 7]
    path = near_duplicates.dropped_path(tmp_path, 3)
    assert path.name == prediction_schema.shard_name(3)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=f"^{path} "):  # Not one of the predictions.
        near_duplicates.read_dropped(tmp_path, 3)
    for broken in (
        rows.drop_columns("record_index"),
        pa.table({"record_index": ["2", "7"]}),
    ):
        near_duplicates.write_dropped(tmp_path, 3, broken)
        with pytest.raises(ValueError, match=rf"^{path} .*(record_index|int)"):
            near_duplicates.read_dropped(tmp_path, 3)


@pytest.mark.parametrize("size", [1, 3, 4, 10])
def test_blocks_hold_all_rows_and_their_dropped_ones(tmp_path, monkeypatch, size):
    table = pa.table({"label": range(10)})
    blocks = [table.slice(first, size) for first in range(0, 10, size)]
    monkeypatch.setattr(prediction_schema, "read_rows", lambda path, columns: blocks)
    columns = {name: [None] * 3 for name in near_duplicates.dropped_schema().names}
    columns["record_index"] = [0, 3, 9]
    rows = pa.table(columns, schema=near_duplicates.dropped_schema())
    near_duplicates.write_dropped(tmp_path, 5, rows)
    for directory, dropped in ((tmp_path, [0, 3, 9]), (None, [])):
        found = list(near_duplicates.read_blocks(tmp_path, ["label"], directory, 5))
        assert pa.concat_tables([rows for _, rows, _ in found]) == table
        parts = [rows.take(at) for _, rows, at in found]
        assert pa.concat_tables(parts)["label"].to_pylist() == dropped
        firsts = [first for first, _, _ in found]
        assert firsts == [rows["label"][0].as_py() for _, rows, _ in found]


def test_rows_have_the_match_of_their_representative_or_itself():
    """Row 1 leaked, and represents row 2; row 3 stays, and represents row 4."""
    matches = np.zeros(2, near_duplicates.NAMED_MATCH)
    matches["row"] = 1
    matches["match_set"], matches["match_shard"], matches["match_row"] = 1, 5, [8, 9]
    matches["confidence"] = [0.5, 0.9]
    represented = np.array([(2, 1), (4, 3)], near_duplicates.REPRESENTED)
    images = pa.table(
        {
            "key": [f"k{row}" for row in range(5)],
            "image_sha256": pa.array([bytes([row]) * 32 for row in range(5)]).cast(
                pa.binary(32)
            ),
        }
    )
    table = near_duplicates.resolve_matches(
        matches, ["x8", "x9"], represented, images, shard=7, set_names=["", "test"]
    )
    names = ["record_index", "reason", "twin_set", "twin_shard", "twin_row", "twin_key"]
    assert table.schema == near_duplicates.dropped_schema()
    assert [tuple(row.values()) for row in table.select(names).to_pylist()] == [
        (1, "leaked", "test", 5, 9, "x9"),
        (2, "leaked", "test", 5, 9, "x9"),
        (4, "duplicate", "", 7, 3, "k3"),
    ]
    assert table["key"].to_pylist() == ["k1", "k2", "k4"]
    assert table["same_bytes"].to_pylist() == [False, False, False]
