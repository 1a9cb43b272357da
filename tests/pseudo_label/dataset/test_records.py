import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudo_label.dataset import records as dataset_records
from pseudo_label.dataset.records import Record
from tests.images import encode, random_pixels

NAMES = ("ant", "bee", "cat")
INT64 = st.integers(0, 2**63 - 1)
SHARE = st.floats(0, 1, width=32)
#: What can be encoded as UTF-8, unlike half of a surrogate pair.
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def make_records(kind):
    rng = np.random.default_rng(0)
    return records_of([encode(random_pixels(rng, 20 + i, 30), kind) for i in range(3)])


def records_of(images):
    """Returns a record of each image."""
    return [
        Record(
            image=image,
            label=i % 3,
            confidence=0.5 + i / 1000,
            top_labels=[i % 3, (i + 1) % 3],
            top_probabilities=[0.5 + i / 1000, 0.1],
            key=f"schlüssel#{i}",
            source=dataset_records.source_name(7),
            row=10 + i,
            teacher="0123abc",
            round=2,
            copy=i,
        )
        for i, image in enumerate(images)
    ]


def write(directory, records):
    """Writes two shards as a dataset; returns the serialized records."""
    serialized = [dataset_records.serialize(record) for record in records]
    for shard, contents in enumerate((serialized[:2], serialized[2:])):
        path = directory / dataset_records.shard_name(shard, 2)
        with tf.io.TFRecordWriter(str(path)) as writer:
            for content in contents:
                writer.write(content)
    dataset_records.write_metadata(
        str(directory),
        dataset_records.features(NAMES, top_k=2),
        shard_lengths=[2, len(records) - 2],
        num_bytes=sum(map(len, serialized)),
    )
    return serialized


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_tfds_gives_back_what_was_written(tmp_path, kind):
    records = make_records(kind)
    write(tmp_path, records)
    builder = tfds.builder_from_directory(str(tmp_path))
    assert builder.info.splits["train"].num_examples == 3
    assert builder.info.features["label"].names == list(NAMES)
    found = list(tfds.as_numpy(builder.as_dataset(split="train")))
    for example, original in zip(found, records, strict=True):
        decoded = tf.io.decode_image(original.image, channels=3)
        np.testing.assert_array_equal(example["image"], decoded)
        check(example, original, leaving_out="image")


def test_tensorflow_alone_gives_it_back(tmp_path):
    records = make_records("PNG")
    write(tmp_path, records)
    spec = dataset_records.parsing_spec(top_k=2)
    files = sorted(map(str, tmp_path.glob("*tfrecord*")))
    found = list(tf.data.TFRecordDataset(files).as_numpy_iterator())
    for content, original in zip(found, records, strict=True):
        parsed = tf.io.parse_single_example(content, spec)
        check({name: value.numpy() for name, value in parsed.items()}, original)


def check(example, original, leaving_out=None):
    expected = dataclasses.asdict(original)
    assert set(example) == set(expected) == set(dataset_records.FIELDS)
    for name in set(expected) - {leaving_out}:
        value = example[name]
        if isinstance(expected[name], str):
            assert value.decode() == expected[name]
        elif isinstance(expected[name], bytes):
            assert value == expected[name]
        else:
            np.testing.assert_array_equal(
                value, np.asarray(expected[name], value.dtype)
            )


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_records_are_those_of_tfds(data):
    """Of its own serializer, which is several times slower."""
    top_k = data.draw(st.integers(1, 3))
    record = Record(
        image=encode(random_pixels(np.random.default_rng(0))),
        label=data.draw(st.integers(0, 2)),
        confidence=data.draw(SHARE),
        top_labels=data.draw(st.lists(INT64, min_size=top_k, max_size=top_k)),
        top_probabilities=data.draw(st.lists(SHARE, min_size=top_k, max_size=top_k)),
        key=data.draw(TEXT),
        source=data.draw(TEXT),
        row=data.draw(INT64),
        teacher=data.draw(TEXT),
        round=data.draw(INT64),
        copy=data.draw(INT64),
    )
    schema = dataset_records.features(NAMES, top_k=top_k)
    example = {
        **dataclasses.asdict(record),
        "top_labels": np.array(record.top_labels),
        "top_probabilities": np.array(record.top_probabilities, np.float32),
    }
    expected = schema.serialize_example(schema.encode_example(example))
    found = dataset_records.serialize(record)
    parse = tf.train.Example.FromString
    assert parse(found) == parse(expected)
    assert found == parse(found).SerializeToString(deterministic=True)
