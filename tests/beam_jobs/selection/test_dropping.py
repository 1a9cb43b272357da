"""What the leak guard drops, against brute force and however it is run."""

import json

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_jobs.selection import dropping
from pseudo_label.deduplication import near_duplicates, similarity
from tests import duplicate_corpus

LOCAL = ("--runner=FnApiRunner",)
TWO_PROCESSES = (
    *LOCAL,
    "--direct_num_workers=2",
    "--direct_running_mode=multi_processing",
)


@pytest.fixture
def drop(tmp_path):
    """Runs the job on images dealt into parts; returns its counts and its files."""

    def write(images, parts, name):
        directory = tmp_path / name.replace("/", "-")
        if directory.exists():
            return duplicate_corpus.prediction_set(directory, images, parts)
        return duplicate_corpus.write_predictions(directory, images, parts)

    def run(images, parts, excluded, *, name="corpus", flags=LOCAL, **settings):
        corpus = write(images, parts, name)
        sets = {
            key: write(value, np.array_split(np.arange(len(value)), 3), f"set-{key}")
            for key, value in excluded.items()
        }
        output = tmp_path / f"output-{name}"
        dropping.delete_dropped(output)
        job = dropping.DroppingJob(
            predictions=corpus, excluded=sets, output=str(output), **settings
        )
        with beam.Pipeline(options=PipelineOptions(list(flags))) as pipeline:
            counts = pipeline | dropping.drop(job)
            _ = counts | beam.Map(_save, tmp_path / "seen.json", output)
        return json.loads((tmp_path / "seen.json").read_text()), files(output)

    return run


def _save(counts, path, output):
    """Keeps the counts, and the names of the files that were there by then."""
    if path.exists():
        path.unlink()
    seen = {"leaked": 0, "duplicate": 0}
    for (reason, _), count in counts.items():
        seen[reason] += count
    path.write_text(json.dumps({**seen, "files": sorted(files(output))}))


def files(output):
    return {path.name: path.read_bytes() for path in (output / "dropped").glob("*")}


def by_key(found):
    """By key what `duplicate_corpus.brute_force` says."""
    columns = ("reason", "same_bytes", "distance", "twin_set", "twin_key")
    return {
        row["key"]: tuple(row[name] for name in columns)
        for content in found.values()
        for row in pq.read_table(pa.BufferReader(content)).to_pylist()
    }


def make_corpus(seed, count=300):
    rng = np.random.default_rng(seed)
    pool = rng.integers(0, 2**64, 25, dtype=np.uint64)
    excluded = {
        "test/predictions": duplicate_corpus.make_images(
            rng, 30, prefix="t", pool=pool[:4]
        ),
        "labeled": duplicate_corpus.make_images(rng, 20, prefix="l", pool=pool[2:6]),
    }
    return duplicate_corpus.make_images(rng, count, prefix="k", pool=pool), excluded


def deal(count, num_shards, seed):
    """Returns in which order each shard has which images."""
    order = np.random.default_rng(seed).permutation(count)
    return np.array_split(order, num_shards)


@pytest.mark.parametrize("bits", range(4))
def test_equals_brute_force(drop, monkeypatch, bits):
    monkeypatch.setattr(dropping, "_PARTITION_ROWS", 100)
    images, excluded = make_corpus(seed=bits)
    parts = [*deal(len(images), 5, seed=bits), np.array([], int)]
    counts, found = drop(images, parts, excluded, bits=bits)
    expected = duplicate_corpus.brute_force(images, excluded, bits=bits)
    assert by_key(found) == expected
    reasons = [row[0] for row in expected.values()]
    assert counts["leaked"] == reasons.count("leaked") > 5
    assert counts["duplicate"] == reasons.count("duplicate") > 10
    assert counts["files"] == sorted(found)


@pytest.mark.parametrize("bits", [None, 0, 2])
def test_embeddings_equal_brute_force(drop, monkeypatch, bits):
    monkeypatch.setattr(similarity, "_BLOCK_ROWS", 32)
    monkeypatch.setattr(dropping, "_SENT_BYTES", 1000)
    images, excluded = make_corpus(seed=5)
    sets = [images, *excluded.values()]
    every = np.concatenate([each.embeddings for each in sets])
    near = np.unique(duplicate_corpus.cosines(every, every))
    near = near[(near > 0.95) & (near < 0.97)]
    widest = np.diff(near).argmax()  # There rounding decides nothing.
    limit = float(near[widest : widest + 2].mean())
    expected = duplicate_corpus.brute_force(
        images, excluded, bits=bits, similarity=limit
    )
    without = duplicate_corpus.brute_force(images, excluded, bits=bits)
    assert len(expected) > len(without) + 20
    for shards in (1, 6, 40):
        parts = [*deal(len(images), shards, seed=shards), np.array([], int)]
        given = {"bits": bits, "similarity": limit, "name": f"by-{shards}"}
        counts, found = drop(images, parts, excluded, **given)
        assert by_key(found) == expected
        assert counts["leaked"] + counts["duplicate"] == len(expected)


def test_positions_of_matches_are_listed_and_rows_are_in_order(drop, tmp_path):
    images, excluded = make_corpus(seed=9)
    parts = deal(len(images), 4, seed=9)
    _, found = drop(images, parts, excluded, bits=2)
    thirds = {
        key: np.array_split(np.arange(len(value)), 3) for key, value in excluded.items()
    }
    for index, part in enumerate(parts):
        rows = pq.read_table(pa.BufferReader(found[f"predictions-{index:05d}.parquet"]))
        assert rows.schema == near_duplicates.dropped_schema()
        for row in rows.to_pylist():
            assert row["key"] == images.keys[part[row["record_index"]]]
            name, shard, at = (row[f"twin_{of}"] for of in ("set", "shard", "row"))
            twin = thirds[name][shard][at] if name else parts[shard][at]
            owner = excluded[name] if name else images
            assert row["twin_key"] == owner.keys[twin]
        indices = near_duplicates.read_dropped(tmp_path / "output-corpus", index)
        assert indices.tolist() == sorted(rows["record_index"].to_pylist())


def test_how_images_are_dealt_into_shards_does_not_matter(drop):
    images, excluded = make_corpus(seed=4)
    results = [
        by_key(drop(images, parts, excluded, bits=2, name=name)[1])
        for name, parts in {
            "one": deal(len(images), 1, seed=0),
            "three": deal(len(images), 3, seed=1),
            "many": deal(len(images), 40, seed=2),
        }.items()
    ]
    assert results[0] == results[1] == results[2] != {}


def test_neither_another_run_nor_partitions_change_a_byte(drop, monkeypatch):
    images, excluded = make_corpus(seed=5)
    parts = deal(len(images), 6, seed=5)
    once = drop(images, parts, excluded, bits=2)
    assert once == drop(images, parts, excluded, bits=2)
    monkeypatch.setattr(dropping, "_PARTITION_ROWS", 17)
    assert once == drop(images, parts, excluded, bits=2)


@pytest.mark.slow
def test_processes_do_not_change_a_byte(drop):
    images, excluded = make_corpus(seed=5)
    parts = deal(len(images), 6, seed=5)
    once = drop(images, parts, excluded, bits=2)
    assert once == drop(images, parts, excluded, bits=2, flags=TWO_PROCESSES)
    once = drop(images, parts, excluded, bits=2, similarity=0.9)
    again = drop(images, parts, excluded, bits=2, similarity=0.9, flags=TWO_PROCESSES)
    assert once == again


def test_what_is_not_asked_for_is_kept(drop):
    images, excluded = make_corpus(seed=6)
    parts = deal(len(images), 3, seed=6)
    counts, found = drop(images, parts, excluded, bits=None)
    expected = duplicate_corpus.brute_force(images, excluded, bits=None)
    assert by_key(found) == expected
    assert counts["duplicate"] == 0
    counts, found = drop(images, parts, {}, bits=1)
    assert by_key(found) == duplicate_corpus.brute_force(images, {}, bits=1)
    assert counts["leaked"] == 0


def test_without_matches_no_file_is_written(drop):
    images, _ = make_corpus(seed=7, count=6)
    images.hashes[:] = np.arange(6, dtype=np.uint64) * np.uint64(0x1111111111111111)
    counts, found = drop(images, [np.arange(6)], {}, bits=2)
    assert (counts, found) == ({"leaked": 0, "duplicate": 0, "files": []}, {})


def test_an_excluded_set_without_images_excludes_none(drop):
    images, excluded = make_corpus(seed=8)
    empty = excluded["labeled"].take(np.array([], int))
    parts = deal(len(images), 2, seed=8)
    _, found = drop(images, parts, {"empty": empty}, bits=2)
    assert by_key(found) == duplicate_corpus.brute_force(images, {}, bits=2)


def test_files_of_an_earlier_run_are_deleted(tmp_path):
    dropping.delete_dropped(tmp_path)
    old = near_duplicates.dropped_path(tmp_path, 3)
    old.parent.mkdir()
    old.write_bytes(b"")
    dropping.delete_dropped(tmp_path)
    assert not old.exists()


def test_bits_out_of_range_are_refused(drop):
    images, excluded = make_corpus(seed=7, count=6)
    with pytest.raises(ValueError, match=r"bits.* 0\.\.3.* 4"):
        drop(images, [np.arange(6)], excluded, bits=4)
    with pytest.raises(ValueError, match=r"similarity.* at most 1, got 1\.5"):
        drop(images, [np.arange(6)], excluded, bits=0, similarity=1.5)


@pytest.mark.parametrize("bits", [0, 3])
def test_twenty_thousand_images_equal_brute_force(drop, bits):
    rng = np.random.default_rng(bits)
    pool = rng.integers(0, 2**64, 12_000, dtype=np.uint64)
    images = duplicate_corpus.make_images(rng, 20_000, prefix="k", pool=pool)
    excluded = {
        "test": duplicate_corpus.make_images(rng, 2_000, prefix="t", pool=pool[:2_000])
    }
    _, found = drop(images, deal(len(images), 20, seed=bits), excluded, bits=bits)
    expected = duplicate_corpus.brute_force(images, excluded, bits=bits)
    assert by_key(found) == expected
