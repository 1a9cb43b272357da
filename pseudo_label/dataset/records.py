"""File format of the records that a student is trained on: a TFDS dataset.

`tfds.builder_from_directory(...)` opens it. `as_dataset` decodes all images but GIF and
WebP, to which it adds a dimension of frames; `decode_image` decodes all.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from etils import epath
from google.protobuf.message import DecodeError

from pseudo_label.predictions.schema import hash_key
from stage import artifact
from stage.artifact_kinds import DATASET_INFO
from stage.tfds_directory import FRAME_BYTES, open_builder

NAME = "pseudo_labels"
#: Version of the records; 1.1.0 added `row`, `teacher` and `round`.
VERSION = "1.1.0"
SPLIT = "train"
_ADVICE = "delete COMPLETED in it and run write_records again"
#: Features that a soft target is made from.
TARGET_FEATURES = ("top_labels", "top_probabilities")
#: Entry of the file that says which features `as_supervised=True` gives; datasets of
#: earlier versions have none.
SUPERVISED = "supervisedKeys"
PAIR = ("image", "label")
#: TensorFlow's type in a serialized record, and a description, by feature.
FIELDS = {
    "image": ("string", "encoded image, unchanged"),
    "label": ("int64", "class with the highest probability"),
    "confidence": ("float32", "probability of that class, in [0, 1]"),
    "top_labels": ("int64", "most probable classes, `label` first"),
    "top_probabilities": ("float32", "their probabilities"),
    "key": ("string", "name of the image, unique among the labeled images"),
    "source": ("string", "input shard of the image"),
    "row": ("int64", "position of the image in the shard, from 0 on"),
    "teacher": ("string", "fingerprint of the teacher"),
    "round": ("int64", "round of self-training, from 1 on"),
    "copy": ("int64", "0 for the first record of an image, 1 for the second, ..."),
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


def decode_image(encoded: bytes) -> tf.Tensor:
    """Returns the image of a record, uint8 [H,W,3], decoded as the card shows."""
    return tf.io.decode_image(encoded, channels=3, expand_animations=False)


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


def sort_key(key: str, copy: int) -> int:
    """Returns the 64-bit hash of a record, whose order is that of a shard's records."""
    return hash_key(f"{key}/{copy}")


def parse_identity(serialized: bytes) -> tuple[str, int]:
    """Returns the image's key and the number of the copy; ValueError for no record."""
    try:
        feature = tf.train.Example.FromString(serialized).features.feature
        (key,) = feature["key"].bytes_list.value
        (copy,) = feature["copy"].int64_list.value
    except DecodeError as error:
        raise ValueError("no tf.train.Example") from error
    return key.decode(), copy


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

    `shard_lengths` are numbers of records, and `num_bytes` is the size of all records.
    """
    path = epath.Path(directory)
    with tempfile.TemporaryDirectory() as scratch:
        schema.save_config(scratch)  # Not atomically.
        for file in sorted(epath.Path(scratch).iterdir()):
            artifact.write_bytes(path / file.name, file.read_bytes())
    info = {
        "name": NAME,
        "version": VERSION,
        "fileFormat": "tfrecord",
        SUPERVISED: {"tuple": {"items": [{"featureKey": name} for name in PAIR]}},
        "splits": [
            {
                "name": SPLIT,
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                "shardLengths": [str(length) for length in shard_lengths],
                "numBytes": str(num_bytes),
            }
        ],
    }
    artifact.write_json(path / DATASET_INFO, info)


def check_size(directory: epath.PathLike) -> None:
    """Raises ValueError unless a dataset's files are as long as it says.

    Every record counts, so that files that lack some are found without reading them.
    """
    path = epath.Path(directory)
    split = open_builder(str(path)).info.splits[SPLIT]
    lengths = split.shard_lengths
    files = [path / shard_name(index, len(lengths)) for index in range(len(lengths))]
    for file in files:
        if not file.exists():
            raise ValueError(f"dataset {path}: {file.name} is missing; {_ADVICE}")
    expected = split.num_bytes + FRAME_BYTES * sum(lengths)
    found = sum(file.stat().length for file in files)
    if found != expected:
        raise ValueError(
            f"dataset {path}: expected {expected:,} bytes of {sum(lengths):,} records, "
            f"got {found:,}; {_ADVICE}"
        )
