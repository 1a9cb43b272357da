"""The work of one group, without Beam."""

import collections
import hashlib
import re

import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from beam_jobs.writing import worker
from beam_jobs.writing.spool import WritingError
from beam_jobs.writing.worker import WriteGroup
from classifier.data import shard_manifest
from pseudo_label.predictions import schema as prediction_schema
from tests import chain
from tests.images import random_images


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("chain")
    return chain.make(
        root, num_shards=16, per_shard=5, images_per_class=40, max_copies=3
    )


@pytest.fixture
def job(made, tmp_path):
    """Two groups, nothing written."""
    planned = made.plan(num_shards=8, output=str(tmp_path))
    shard_manifest.freeze(planned.source, planned.output, allow_new_shards=False)
    assert len(planned.groups) == 2
    return planned.without_shards()


def test_selected_rows_come_with_their_images(job):
    images = random_images(16 * 5)[3::16]
    keys = pq.read_table(str(job.predictions.path(3)))["key"].to_pylist()
    found = list(worker.selected_images(job, 3))
    assert found
    for row, copies, image in found:
        assert copies >= 1
        assert keys[row["record_index"]] == row["key"]
        assert image == images[row["record_index"]]
        assert row["image_sha256"] == hashlib.sha256(image).digest()


def test_a_record_has_the_fields_of_its_row(job):
    row, copies, image = next(worker.selected_images(job, 3))
    record = worker.make_record(job, 3, row, image, copies - 1)
    assert record.image == image
    assert (record.key, record.row) == (row["key"], row["record_index"])
    assert (record.label, record.confidence) == (row["label"], row["confidence"])
    assert record.copy == copies - 1
    assert record.source.endswith("00003")
    assert record.teacher == job.teacher


def read(job, index):
    """Returns the records of an output shard, read by TensorFlow."""
    dataset = tf.data.TFRecordDataset(str(job.path(index)))
    return [content.numpy() for content in dataset]


def test_a_group_yields_the_sizes_of_all_its_shards(job):
    written = [*WriteGroup(job).process(0), *WriteGroup(job).process(1)]
    assert [shard.index for shard in written] == list(range(8))
    for shard in written:
        sizes = [len(content) for content in read(job, shard.index)]
        assert (shard.length, shard.num_bytes) == (len(sizes), sum(sizes))
    assert sum(shard.length for shard in written) == job.selection.funnel.records


def contents(job):
    return {index: job.path(index).read_bytes() for index in job.groups[0].outputs}


def frames(content):
    """Returns the framed records of a file."""
    found = []
    while content:
        length = int.from_bytes(content[:8], "little") + 16
        found.append(content[:length])
        content = content[length:]
    return found


def cut(content):
    return b"".join(frames(content)[:-1])


def reorder(content):
    return b"".join(reversed(frames(content)))


def repeat(content):
    first, *rest = frames(content)
    return b"".join([first, first, *rest[1:]])


def flip(content):
    return content[:100] + bytes([content[100] ^ 1]) + content[101:]


@pytest.mark.parametrize(
    "spoil",
    [lambda content: b"", lambda content: content[:-1], cut, flip, reorder, repeat],
)
def test_only_shards_that_do_not_hold_their_records_are_written_again(job, spoil):
    sizes = list(WriteGroup(job).process(0))
    whole = contents(job)
    first, second, *others = job.groups[0].outputs
    job.path(first).unlink()
    job.path(second).write_bytes(spoil(whole[second]))
    assert job.path(second).read_bytes() != whole[second]
    before = {index: job.path(index).stat().mtime for index in others}
    assert list(WriteGroup(job).process(0)) == sizes
    assert contents(job) == whole
    assert {index: job.path(index).stat().mtime for index in others} == before


def test_records_of_something_else_are_written_again(job):
    list(WriteGroup(job).process(0))
    whole = contents(job)
    for content in (b"no record", tf.train.Example().SerializeToString()):
        with tf.io.TFRecordWriter(str(job.path(1))) as writer:
            writer.write(content)
        list(WriteGroup(job).process(0))
        assert contents(job) == whole


def test_a_file_that_is_shorter_than_what_was_written_is_an_error(job, monkeypatch):
    monkeypatch.setattr(worker.Spool, "read", lambda self, shard: iter([b""]))
    with pytest.raises(WritingError, match=re.escape(str(job.path(0)))):
        list(WriteGroup(job).process(0))
    assert not job.path(0).exists()


def test_records_that_are_not_the_expected_ones_are_an_error(job, monkeypatch):
    append = worker.Spool.append

    def append_some(self, shard, sort_key, content):
        if sort_key % 3:
            append(self, shard, sort_key, content)

    monkeypatch.setattr(worker.Spool, "append", append_some)
    with pytest.raises(WritingError, match=re.escape(str(job.path(0)))):
        list(WriteGroup(job).process(0))
    assert not job.path(0).exists()


def test_records_are_in_the_order_of_hashes_of_key_and_copy(job):
    list(WriteGroup(job).process(0))
    seen = collections.Counter()
    for index in job.groups[0].outputs:
        names = [name_of(content) for content in read(job, index)]
        seen.update(names)
        hashes = [prediction_schema.hash_key(name) for name in names]
        assert hashes == sorted(hashes)
    assert set(seen.values()) == {1}


def name_of(content):
    features = tf.train.Example.FromString(content).features.feature
    key = features["key"].bytes_list.value[0].decode()
    return f"{key}/{features['copy'].int64_list.value[0]}"
