"""The records a student is trained on, as a TFDS dataset; the schema stands here.

The wire format is TFDS's own, so `tfds.builder_from_directory(...)` opens it and
`as_dataset` decodes it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

NAME = "pseudo_labels"
VERSION = "1.0.0"
SPLIT = "train"
#: Features that a soft target is rebuilt from.
TARGET_FEATURES = ("top_labels", "top_probabilities")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """One pseudo-labeled image.

    Attributes:
        image: Encoded bytes, as they were found.
        label: The teacher's top class.
        confidence: Its probability in [0, 1].
        top_labels: [k] classes, most probable first.
        top_probabilities: [k] their probabilities.
        key: The image's name in its source.
        source: Name of the input shard.
        copy: 0 for the first time the image is written, 1 for the second.
    """

    image: bytes
    label: int
    confidence: float
    top_labels: Sequence[int]
    top_probabilities: Sequence[float]
    key: str
    source: str
    copy: int


def features(class_names: Sequence[str], *, top_k: int) -> tfds.features.FeaturesDict:
    """Returns the features of the dataset."""
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(names=list(class_names)),
            "confidence": np.float32,
            "top_labels": tfds.features.Tensor(shape=(top_k,), dtype=np.int64),
            "top_probabilities": tfds.features.Tensor(shape=(top_k,), dtype=np.float32),
            "key": tfds.features.Text(),
            "source": tfds.features.Text(),
            "copy": np.int64,
        }
    )


def serialize(record: Record, schema: tfds.features.FeaturesDict) -> bytes:
    """Returns the record as bytes, the same in every process."""
    example = {
        **dataclasses.asdict(record),
        "top_labels": np.asarray(record.top_labels, np.int64),
        "top_probabilities": np.asarray(record.top_probabilities, np.float32),
    }
    message = tf.train.Example.FromString(
        schema.serialize_example(schema.encode_example(example))
    )
    # A protobuf map has another order in every process, unless told otherwise.
    serialized: bytes = message.SerializeToString(deterministic=True)
    return serialized


def shard_name(index: int, num_shards: int) -> str:
    """Returns the file name of one shard, as TFDS expects it."""
    return f"{NAME}-{SPLIT}.tfrecord-{index:05d}-of-{num_shards:05d}"


def write_metadata(
    directory: str,
    schema: tfds.features.FeaturesDict,
    *,
    shard_lengths: Sequence[int],
    num_bytes: int,
) -> None:
    """Writes `features.json` and `dataset_info.json` beside the shards.

    Args:
        directory: Of the shards.
        schema: Features of the records.
        shard_lengths: Records of each shard.
        num_bytes: Of all records.
    """
    schema.save_config(directory)
    info = {
        "name": NAME,
        "version": VERSION,
        "fileFormat": "tfrecord",
        "splits": [
            {
                "name": SPLIT,
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                "shardLengths": [str(length) for length in shard_lengths],
                "numBytes": str(num_bytes),
            }
        ],
    }
    path = tfds.core.Path(directory) / "dataset_info.json"
    path.write_text(json.dumps(info, indent=2) + "\n")


def read_schema(directory: str) -> Any:
    """Returns the features of a written dataset."""
    return tfds.builder_from_directory(directory).info.features
