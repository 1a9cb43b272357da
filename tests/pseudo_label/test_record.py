import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from pseudo_label import record
from pseudo_label.record import Record
from tests.images import encode, random_pixels

NAMES = ("ant", "bee", "cat")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_tfds_gives_back_what_was_written(tmp_path, kind):
    rng = np.random.default_rng(0)
    pixels = [random_pixels(rng, 20 + i, 30) for i in range(3)]
    schema = record.features(NAMES, top_k=2)
    records = [
        Record(
            image=encode(image, kind),
            label=i,
            confidence=0.5 + i / 10,
            top_labels=[i, (i + 1) % 3],
            top_probabilities=[0.5 + i / 10, 0.1],
            key=f"schlüssel#{i}",
            source="shard-00000",
            copy=i,
        )
        for i, image in enumerate(pixels)
    ]
    serialized = [record.serialize(r, schema) for r in records]
    for shard, contents in enumerate((serialized[:2], serialized[2:])):
        path = tmp_path / record.shard_name(shard, 2)
        with tf.io.TFRecordWriter(str(path)) as writer:
            for content in contents:
                writer.write(content)
    record.write_metadata(
        str(tmp_path),
        schema,
        shard_lengths=[2, 1],
        num_bytes=sum(map(len, serialized)),
    )
    builder = tfds.builder_from_directory(str(tmp_path))
    assert builder.info.splits["train"].num_examples == 3
    assert builder.info.features["label"].names == list(NAMES)
    found = list(tfds.as_numpy(builder.as_dataset(split="train")))
    for example, original in zip(found, records, strict=True):
        decoded = tf.io.decode_image(original.image, channels=3)
        np.testing.assert_array_equal(example["image"], decoded)
        assert example["key"].decode() == original.key
        assert example["label"] == original.label
        assert example["confidence"] == np.float32(original.confidence)
        assert example["top_labels"].tolist() == original.top_labels
        assert example["copy"] == original.copy
