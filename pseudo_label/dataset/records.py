"""File format of the records that a student is trained on: a TFDS dataset.

`tfds.builder_from_directory(...)` opens it, and `as_dataset` decodes it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

NAME = "pseudo_labels"
#: Version of the records; 1.1.0 added `row`, `teacher` and `round`.
VERSION = "1.1.0"
SPLIT = "train"
#: Features that a soft target is made from.
TARGET_FEATURES = ("top_labels", "top_probabilities")
#: TensorFlow's type in a serialized record, and a description, by feature.
FIELDS = {
    "image": ("string", "the encoded image, byte for byte as it was found"),
    "label": ("int64", "the teacher's most probable class"),
    "confidence": ("float32", "the probability that it gave it, from 0 to 1"),
    "top_labels": ("int64", "its most probable classes, the first of them `label`"),
    "top_probabilities": ("float32", "their probabilities"),
    "key": ("string", "the image's name, unique among the images that were labeled"),
    "source": ("string", "the shard of those that the image is in"),
    "row": ("int64", "which image of that shard it is, from 0 on"),
    "teacher": ("string", "the fingerprint of the teacher"),
    "round": ("int64", "of self-training, from 1 on"),
    "copy": ("int64", "0; in the second record of the same image 1, and so on"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """One pseudo-labeled image; `FIELDS` describes the fields."""

    image: bytes
    label: int
    confidence: float
    top_labels: Sequence[int]
    top_probabilities: Sequence[float]
    key: str
    source: str
    row: int
    teacher: str
    round: int
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
            "row": np.int64,
            "teacher": tfds.features.Text(),
            "round": np.int64,
            "copy": np.int64,
        }
    )


def parsing_spec(*, top_k: int) -> dict[str, tf.io.FixedLenFeature]:
    """Returns the features for `tf.io.parse_example`, which needs no TFDS."""
    return {
        name: tf.io.FixedLenFeature(shape, getattr(tf, kind))
        for name, (kind, shape) in wire_types(top_k=top_k).items()
    }


def wire_types(*, top_k: int) -> dict[str, tuple[str, list[int]]]:
    """Returns TensorFlow's type and shape of each feature in a serialized record."""
    return {
        name: (kind, [top_k] if name in TARGET_FEATURES else [])
        for name, (kind, _) in FIELDS.items()
    }


def serialize(record: Record) -> bytes:
    """Returns the record as bytes, the same in every process.

    TFDS makes an equal record, in ten times the time.
    """
    example = tf.train.Example()
    feature = example.features.feature
    feature["image"].bytes_list.value.append(record.image)
    feature["confidence"].float_list.value.append(record.confidence)
    feature["top_labels"].int64_list.value.extend(record.top_labels)
    feature["top_probabilities"].float_list.value.extend(record.top_probabilities)
    for name in ("label", "row", "round", "copy"):
        feature[name].int64_list.value.append(getattr(record, name))
    for name in ("key", "source", "teacher"):
        feature[name].bytes_list.value.append(getattr(record, name).encode())
    # By default a protobuf map has another order in every process.
    serialized: bytes = example.SerializeToString(deterministic=True)
    return serialized


def source_name(shard: int) -> str:
    """Returns the name of an input shard in records."""
    return f"shard-{shard:05d}"


def shard_name(index: int, num_shards: int) -> str:
    """Returns the file name of a shard, in TFDS's form."""
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
        directory: Directory of the shards.
        schema: Features of the records.
        shard_lengths: Number of records in each shard.
        num_bytes: Size of all records together.
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
