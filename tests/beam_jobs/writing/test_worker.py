"""The work of one group, without Beam."""

import collections
import hashlib

import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from beam_jobs.writing import worker
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


def test_a_shard_that_exists_is_not_written_again(job):
    sizes = list(WriteGroup(job).process(0))
    content = {index: job.path(index).read_bytes() for index in job.groups[0].outputs}
    job.path(1).unlink()
    job.path(2).write_bytes(b"kept")
    worker.write_group(job, job.groups[0])
    assert job.path(1).read_bytes() == content[1]
    assert job.path(2).read_bytes() == b"kept"
    job.path(2).write_bytes(content[2])
    assert list(WriteGroup(job).process(0)) == sizes


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
