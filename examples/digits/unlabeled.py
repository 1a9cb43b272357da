"""Prepares the TFDS dataset of the digits, and its unlabeled part as TFRecords."""

from __future__ import annotations

import os
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds

from classifier.data.readers import IMAGE_FEATURE
from examples.digits.digits_dataset_builder import Digits, DigitsConfig


def prepare_dataset(data_dir: str, config: DigitsConfig) -> Any:
    """Returns the builder of the digits, written to `data_dir`."""
    tfds.disable_progress_bar()
    builder = Digits(data_dir=data_dir, config=config)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(try_download_gcs=False)
    )
    return builder


def export_shards(builder: Any, directory: str, *, num_shards: int) -> int:
    """Writes `unlabeled-NNNNN-of-NNNNN.tfrecord` files; returns how many images."""
    os.makedirs(directory, exist_ok=True)
    images = builder.as_dataset(
        split="unlabeled", decoders={"image": tfds.decode.SkipDecoding()}
    )
    encoded = [example["image"].numpy() for example in images]
    for shard in range(num_shards):
        name = f"unlabeled-{shard:05d}-of-{num_shards:05d}.tfrecord"
        with tf.io.TFRecordWriter(os.path.join(directory, name)) as writer:
            for image in encoded[shard::num_shards]:
                writer.write(_record(image))
    return len(encoded)


def _record(image: bytes) -> bytes:
    feature = {IMAGE_FEATURE: tf.train.Feature(bytes_list={"value": [image]})}
    record: bytes = tf.train.Example(
        features=tf.train.Features(feature=feature)
    ).SerializeToString()
    return record
