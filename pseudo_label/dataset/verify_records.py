"""Reads the records of a dataset again and compares each with its prediction."""

from __future__ import annotations

import concurrent.futures
import hashlib
import re
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
from etils import epath
from numpy.typing import NDArray

from pseudo_label.dataset import card, records
from pseudo_label.dataset.verify_selection import Count, Lineage, check
from stage import artifact, licenses, typed_json
from stage.artifact_kinds import DATASET_INFO
from stage.system import num_cores
from stage.tfds_directory import FRAME_BYTES, open_builder

#: Title of a count without an expected number; not 0 if there are fewer files than
#: copies of an image.
REPEATED = "images with two copies in a file"
_BATCH_SIZE = 256
#: Upper limit of the rows of a shard; shard * _MAX_ROWS + row is a position.
_MAX_ROWS = 2**40


def count_records(lineage: Lineage, kept: pa.Table) -> list[Count]:
    """Compares every record of every file with the images that are kept.

    `kept` is the table of `count_predictions`.

    Raises:
        ValueError: At the first record that differs, is missing or was not selected;
            if there are more or fewer files; or if a file that describes the dataset
            is not as it was written.
    """
    split = _open_split(lineage)
    num_shards = lineage.config.num_shards
    files = Count("files of records", len(split.shard_lengths), num_shards)
    check(files, DATASET_INFO)
    names = [records.shard_name(index, num_shards) for index in range(num_shards)]
    _check_files(lineage.dataset, names)
    expected = _ExpectedRecords(lineage, kept)
    num_bytes = 0
    for index, name in enumerate(names):
        path = lineage.dataset / name
        length = 0
        for batch in _read(path, lineage.predictions.top_k):
            length += expected.add(index, batch, f"{path}")
            _check_images(batch, f"{path}")
        of_file = Count(f"records of {name}", split.shard_lengths[index], length)
        check(of_file, DATASET_INFO)
        num_bytes += path.stat().length - length * FRAME_BYTES
    expected.check_complete()
    size = Count("bytes of records", split.num_bytes, num_bytes)
    check(size, DATASET_INFO)
    _check_description(lineage, split)
    artifact.check_sizes(lineage.dataset)
    return [files, size, *expected.counts()]


def _open_split(lineage: Lineage) -> Any:
    """Returns the split's metadata as TFDS reads it."""
    path = lineage.dataset
    try:
        return open_builder(str(path)).info.splits[records.SPLIT]
    except KeyError as error:
        raise ValueError(f"TFDS cannot open {path}: {error}") from error


def _check_description(lineage: Lineage, split: Any) -> None:
    """Raises ValueError if the files beside the records are not as they were written.

    The numbers in them are those of the split, which were counted before.
    """
    predictions, config = lineage.predictions, lineage.config
    num_bytes = int(split.num_bytes)  # TFDS's own type prints as "39 KiB".
    with tempfile.TemporaryDirectory() as scratch:
        records.write_metadata(
            scratch,
            records.features(predictions.class_names, top_k=predictions.top_k),
            shard_lengths=split.shard_lengths,
            num_bytes=num_bytes,
        )
        ledger = licenses.read_if_any(lineage.dataset)
        text = card.make_card(
            lineage.selection,
            predictions,
            round_number=config.round,
            num_shards=config.num_shards,
            num_bytes=num_bytes,
            ledger=ledger,
        )
        artifact.write_bytes(epath.Path(scratch) / artifact.CARD, text.encode())
        for expected in epath.Path(scratch).iterdir():
            path = lineage.dataset / expected.name
            if not path.exists() or path.read_bytes() not in _contents(expected):
                raise ValueError(
                    f"{path} is not what write_records writes; delete "
                    f"{artifact.COMPLETED} beside it and run write_records again"
                )
    if config.record_version != records.VERSION:
        raise ValueError(
            f"{lineage.dataset / artifact.CONFIG}: record_version: expected "
            f"{records.VERSION}, got {typed_json.shown(config.record_version)}"
        )


def _contents(path: epath.Path) -> list[bytes]:
    """Returns the content of a file that describes records, now and formerly."""
    contents = [path.read_bytes()]
    if path.name == DATASET_INFO:
        info = typed_json.read(path, dict[str, Any])
        del info[records.SUPERVISED]
        contents.append(artifact.to_json(info))
    return contents


def _check_files(directory: epath.Path, names: Sequence[str]) -> None:
    found = {path.name for path in directory.iterdir() if ".tfrecord-" in path.name}
    for name in sorted(set(names) - found):
        raise ValueError(f"{directory}: {name} is missing")
    for name in sorted(found - set(names)):
        raise ValueError(f"{directory}: {name} is none of the {len(names)} files")


def _read(path: epath.Path, top_k: int) -> Iterator[dict[str, NDArray[Any]]]:
    """Yields the records of a file in batches; raises ValueError if one is broken."""
    spec = records.parsing_spec(top_k=top_k)
    batches = tf.data.TFRecordDataset(str(path)).batch(_BATCH_SIZE)
    try:
        for batch in batches:
            parsed = tf.io.parse_example(batch, spec)
            yield {name: values.numpy() for name, values in parsed.items()}
    except tf.errors.OpError as error:
        words = _without_names(error.message)
        raise ValueError(f"{path} cannot be read: {words}") from error


def _check_images(batch: dict[str, NDArray[Any]], path: str) -> None:
    """Raises ValueError if an image cannot be decoded as the card shows."""
    with concurrent.futures.ThreadPoolExecutor(num_cores()) as pool:
        for index, error in enumerate(pool.map(_decoding_error, batch["image"])):
            if error:
                raise ValueError(f"{path}: {_name(batch, index)}: {error}")


def _decoding_error(encoded: bytes) -> str:
    try:
        records.decode_image(encoded)
    except tf.errors.InvalidArgumentError as error:
        return f"image cannot be decoded: {_without_names(error.message)}"
    return ""


def _without_names(message: str) -> str:
    """Returns TensorFlow's message without the names of functions and operations."""
    return re.sub(r"\{\{.*\}\}|\[Op:.*", "", " ".join(message.split())).strip()


class _ExpectedRecords:
    """The records of the N images that are kept, each marked when it is found."""

    def __init__(self, lineage: Lineage, kept: pa.Table) -> None:
        self._lineage = lineage
        self._kept = kept
        shards, rows = (kept[name].to_numpy() for name in ("shard", "record_index"))
        self._position = shards * _MAX_ROWS + rows
        shape = (len(kept), lineage.predictions.top_k)
        self._expected = {
            "label": kept["label"].to_numpy(),
            "confidence": kept["confidence"].to_numpy(),
            **{
                name: kept[name].combine_chunks().values.to_numpy().reshape(shape)
                for name in records.TARGET_FEATURES
            },
        }
        self._shard_of = {
            records.source_name(index).encode(): index
            for index in range(lineage.predictions.num_shards)
        }
        # Slots of records: [N] the first of each image; [records] the file, or -1.
        self._copies = kept["copies"].to_numpy()
        self._first = np.cumsum(self._copies) - self._copies
        self._found_in = np.full(self._copies.sum(), -1, np.int32)

    def add(self, shard: int, batch: dict[str, NDArray[Any]], path: str) -> int:
        """Marks the records of a batch as found in a file; returns their number."""
        at = self._find(batch, path)
        self._compare(batch, at, path)
        copy = batch["copy"]
        is_known = (copy >= 0) & (copy < self._copies[at])
        for i in np.flatnonzero(~is_known).tolist():
            raise ValueError(
                f"{path}: {_name(batch, i)} is copy {copy[i]}, expected "
                f"{self._copies[at[i]]} copies, from 0 on"
            )
        for i, slot in enumerate(self._first[at] + copy):
            if self._found_in[slot] >= 0:
                raise ValueError(
                    f"{path}: {_name(batch, i)}, copy {copy[i]}, occurs twice, first "
                    f"in file {self._found_in[slot]}"
                )
            self._found_in[slot] = shard
        return len(at)

    def check_complete(self) -> None:
        """Raises ValueError if a record is missing."""
        for slot in np.flatnonzero(self._found_in < 0):
            image = int(np.searchsorted(self._first, slot, side="right")) - 1
            key = self._kept["key"][image].as_py()
            raise ValueError(
                f"{self._lineage.dataset}: {key}, copy {slot - self._first[image]}, is "
                "in no file"
            )

    def counts(self) -> list[Count]:
        """Returns the counts of images and records."""
        image = np.repeat(np.arange(len(self._copies)), self._copies)
        pairs, times = np.unique(
            np.stack([image, self._found_in]), axis=1, return_counts=True
        )
        funnel = self._lineage.selection.funnel
        return [
            Count("records read", funnel.records, int(np.sum(self._found_in >= 0))),
            Count("images in them", funnel.unique_kept, len(np.unique(image))),
            Count(REPEATED, None, len(np.unique(pairs[0][times > 1]))),
        ]

    def _find(self, batch: dict[str, NDArray[Any]], path: str) -> NDArray[np.int64]:
        """Returns the index among the kept images of each record, int64 [N]."""
        shards = np.array([self._shard_of.get(name, -1) for name in batch["source"]])
        wanted = shards * _MAX_ROWS + batch["row"]
        at = np.searchsorted(self._position, wanted)
        at = np.minimum(at, len(self._position) - 1)
        for i in np.flatnonzero(self._position[at] != wanted).tolist():
            raise ValueError(
                f"{path}: {_name(batch, i)} is of row {batch['row'][i]} of "
                f"{batch['source'][i].decode()}, which was not selected"
            )
        return at

    def _compare(
        self, batch: dict[str, NDArray[Any]], at: NDArray[np.int64], path: str
    ) -> None:
        kept, config = self._kept.take(at), self._lineage.config
        digests = [hashlib.sha256(image).digest() for image in batch["image"]]
        found = {**batch, "image": np.array(digests, object)}
        keys = [key.encode() for key in kept["key"].to_pylist()]
        expected = {
            **{name: values[at] for name, values in self._expected.items()},
            "image": np.array(kept["image_sha256"].to_pylist(), object),
            "key": np.array(keys, object),
            "teacher": np.full(len(at), config.teacher.encode(), object),
            "round": np.full(len(at), config.round),
        }
        for name, values in expected.items():
            is_other = (found[name] != values).reshape(len(at), -1).any(axis=1)
            for i in np.flatnonzero(is_other).tolist():
                wanted, got = (_describe(name, v[i]) for v in (values, found[name]))
                raise ValueError(
                    f"{path}: {_name(batch, i)}: expected {wanted}, got {got}"
                )


def _name(batch: dict[str, NDArray[Any]], index: int) -> str:
    return str(batch["key"][index].decode(errors="backslashreplace"))


def _describe(name: str, value: Any) -> str:
    if name == "image":
        return f"an image of SHA-256 {value.hex()[:12]}"
    text = (
        value.decode(errors="backslashreplace") if isinstance(value, bytes) else value
    )
    return f"{name} {text}"
