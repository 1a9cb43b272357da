"""Reading of images for labeling, evaluation and writing: each exactly once.

Training reads the same files through tf.data, which stops at the first broken byte.
Here permanent errors become examples with a status. Transient errors are retried, then
raised, so that a network outage fails the shard instead of producing wrong rows.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import tensorflow as tf
from google.protobuf.message import DecodeError

from classifier.data import opening, tfrecord, webdataset
from classifier.data.examples import UNLABELED, Example, File, Reader
from classifier.data.opening import FileError
from classifier.data.tfrecord import Broken
from stage.status import BAD_RECORD, CORRUPT_RECORD, OK

_Fetched: TypeAlias = "concurrent.futures.Future[list[Example]]"
#: Number of remote image files fetched in parallel; each takes about 0.1 s.
_READ_AHEAD = 16
#: Most bytes of a record besides its image.
_MAX_OTHER_BYTES = 2**24
#: Numbers of the fields that lead to an image: features, feature, value, bytes_list,
#: value.
_PATH_OF_IMAGE = (1, 1, 2, 1, 1)
#: Most bytes of the images of a batch, and of files fetched in parallel; a single one
#: may have as many.
_MAX_BATCH_BYTES = 2**28


def read_examples(reader: Reader, files: Sequence[File]) -> Iterator[Example]:
    """Yields one example per image of the files, in order, placeholders included.

    Raises:
        OSError: If a transient error persists; the files' content never raises.
    """
    if not any("://" in file.path and file.take == 1 for file in files):
        for file in files:
            yield from reader.examples(file)
        return
    with concurrent.futures.ThreadPoolExecutor(_READ_AHEAD) as pool:
        pending: collections.deque[tuple[int, _Fetched]] = collections.deque()
        for file in files:
            size = max(file.size, 0)
            while pending and (
                len(pending) == _READ_AHEAD
                or sum(bytes_ for bytes_, _ in pending) + size > _MAX_BATCH_BYTES
            ):
                yield from pending.popleft()[1].result()
            fetched = pool.submit(lambda file: list(reader.examples(file)), file)
            pending.append((size, fetched))
        for _, fetched in pending:
            yield from fetched.result()


def read_batches(
    reader: Reader, files: Sequence[File], batch_size: int
) -> Iterator[list[Example]]:
    """Yields the result of `read_examples` in batches.

    A batch is smaller if it is the last, or if a further image would exceed
    `_MAX_BATCH_BYTES`.
    """
    batch: list[Example] = []
    num_bytes = 0
    for example in read_examples(reader, files):
        num_bytes += len(example.image)
        if num_bytes > _MAX_BATCH_BYTES and batch:
            yield batch
            batch, num_bytes = [], len(example.image)
        batch.append(example)
        if len(batch) == batch_size:
            yield batch
            batch, num_bytes = [], 0
    if batch:
        yield batch


def read_image(file: File) -> Example:
    """Returns the example of a file that is an image."""
    key = os.fsencode(file.name)
    try:
        return Example(key, opening.read_file(file), file.label)
    except (OSError, FileError) as error:
        return Example(key, b"", file.label, *opening.status_of(error))


def read_records(
    file: File,
    image_feature: str,
    label_feature: str | None,
    *,
    is_labeled: bool = False,
) -> Iterator[Example]:
    """Yields the examples of a TFRecord file's range; keys are FILE#RECORD.

    If the rest of the file cannot be read, yields a placeholder for each remaining
    record, or a single one if their number is unknown. With `is_labeled`, the error of
    an image without a label is what is in its place.
    """
    index = file.skip
    end = file.skip + file.take if file.take >= 0 else None
    rest: tuple[str, str] | None = None
    try:
        with opening.open_file(file) as stream:
            records = tfrecord.read_records(stream, file.path, file.skip)
            most = None if end is None else file.take + file.to_end
            for record in itertools.islice(records, most):
                if index == end:
                    reason = f"the file goes on behind its {end:,} records"
                    rest = CORRUPT_RECORD, reason
                    break
                if isinstance(record, Broken) and record.is_rest:
                    rest = CORRUPT_RECORD, record.reason
                    break
                key = _record_key(file, index)
                example = _record_example(key, record, image_feature, label_feature)
                if is_labeled and example.label == UNLABELED:
                    example = _explain_record(example, record, label_feature)
                yield example
                index += 1
    except (OSError, FileError) as error:
        rest = opening.status_of(error)
    if rest is None and end is not None and index < end:
        rest = CORRUPT_RECORD, f"the file ends behind record {index:,} of {end:,}"
    if rest is not None:
        for lost in range(index, max(index + 1, end or 0)):
            yield Example(_record_key(file, lost), b"", UNLABELED, *rest)


def _parse_example(record: bytes, image: str, label: str | None) -> tuple[bytes, int]:
    """Returns the features `image` and `label` of a serialized `tf.train.Example`.

    The label is -1 where it is no single integer. Raises ValueError if the record does
    not hold exactly one image.
    """
    if len(record) > _MAX_OTHER_BYTES:
        _check_large(record)
    try:
        features = tf.train.Example.FromString(record).features.feature
    except DecodeError as error:
        raise ValueError("not a tf.train.Example") from error
    if image not in features:
        raise ValueError(f"no feature {image!r}, only {_names(features)}")
    kind = features[image].WhichOneof("kind")
    if kind != "bytes_list":
        raise ValueError(f"expected bytes in {image!r}, got {kind or 'nothing'}")
    images = features[image].bytes_list.value
    if len(images) != 1:
        raise ValueError(f"expected one image in {image!r}, got {len(images)}")
    if label is None or label not in features:
        return images[0], UNLABELED
    labels = features[label].int64_list.value
    return images[0], labels[0] if len(labels) == 1 else UNLABELED


def _check_large(record: bytes) -> None:
    """Raises ValueError unless nearly all of a record is one image.

    Parsing makes eight bytes and more of a byte of integers or of empty strings.
    """
    part = memoryview(record)
    for number in _PATH_OF_IMAGE:
        part = _longest_field(part, number)
    others = len(record) - len(part)
    if others > _MAX_OTHER_BYTES:
        raise ValueError(
            f"{others:,} bytes besides an image, expected at most {_MAX_OTHER_BYTES:,}"
        )


def _longest_field(message: memoryview, number: int) -> memoryview:
    """Returns the longest field of a number in a serialized message.

    Only the first thousand fields count, and only those in front of any that is no
    message, text or list.
    """
    longest, position = message[:0], 0
    for _ in range(1000):
        tag, start = _varint(message, position)
        length, start = _varint(message, start)
        if tag % 8 != 2 or not length:
            break
        position = start + length
        if tag >> 3 == number and length > len(longest):
            longest = message[start:position]
    return longest


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """Returns a number and the position behind it; 0 at the end of the message."""
    value = 0
    for shift, byte in enumerate(message[position : position + 10]):
        value |= (byte & 127) << 7 * shift
        if byte < 128:
            return value, position + shift + 1
    return 0, position


def _explain_record(
    example: Example, record: bytes | Broken, label: str | None
) -> Example:
    """Returns the example of an image without a label, with what is in its place."""
    if isinstance(record, Broken) or example.status != OK or label is None:
        return example
    features = tf.train.Example.FromString(record).features.feature
    if label not in features:
        error = f"no feature {label!r}, only {_names(features)}"
    elif (kind := features[label].WhichOneof("kind")) != "int64_list":
        error = f"expected an integer in {label!r}, got {kind or 'nothing'}"
    elif (count := len(features[label].int64_list.value)) != 1:
        error = f"expected one integer in {label!r}, got {count}"
    else:
        error = ""  # The record says -1.
    return dataclasses.replace(example, error=error)


def read_samples(
    file: File,
    image_extensions: tuple[str, ...],
    label_extension: str,
    *,
    is_labeled: bool = False,
) -> Iterator[Example]:
    """Yields the examples of a WebDataset tar file; keys are FILE#SAMPLE/NAME.

    With `is_labeled`, the error of an image without a label is what is in its place.
    """
    index = 0
    try:
        with opening.open_file(file) as stream:
            for sample in webdataset.read_samples(
                stream, image_extensions, label_extension
            ):
                example = _sample_example(_record_key(file, index), sample)
                if is_labeled and example.label == UNLABELED:
                    example = _explain_sample(example, sample, label_extension)
                yield example
                index += 1
    except (OSError, FileError) as error:
        yield Example(
            _record_key(file, index), b"", UNLABELED, *opening.status_of(error)
        )


def _record_example(
    key: bytes, record: bytes | Broken, image_feature: str, label_feature: str | None
) -> Example:
    if isinstance(record, Broken):
        return Example(key, b"", UNLABELED, CORRUPT_RECORD, record.reason)
    try:
        return Example(key, *_parse_example(record, image_feature, label_feature))
    except ValueError as error:
        return Example(key, b"", UNLABELED, BAD_RECORD, str(error))


def _sample_example(
    key: bytes, sample: webdataset.WebDatasetSample | Broken
) -> Example:
    if isinstance(sample, Broken):
        return Example(key, b"", UNLABELED, CORRUPT_RECORD, sample.reason)
    key += b"/" + os.fsencode(sample.name)
    if len(sample.images) != 1:
        names = _names(sample.extensions)
        error = f"expected one image, got {len(sample.images)} among {names}"
        return Example(key, b"", UNLABELED, BAD_RECORD, error)
    image = sample.images[0]
    if isinstance(image, Broken):
        return Example(key, b"", UNLABELED, BAD_RECORD, image.reason)
    text = sample.labels[0].strip() if len(sample.labels) == 1 else b""
    is_class = text.isdigit() and len(text) < 10
    return Example(key, image, int(text) if is_class else UNLABELED)


def _explain_sample(
    example: Example, sample: webdataset.WebDatasetSample | Broken, extension: str
) -> Example:
    """Returns the example of an image without a label, with what is in its place."""
    if isinstance(sample, Broken) or example.status != OK:
        return example
    if len(sample.labels) != 1:
        names = _names(sample.extensions)
        error = (
            f"expected one member {extension!r}, got {len(sample.labels)} of {names}"
        )
    else:
        error = f"expected the digits of a label in {extension!r}, got "
        error += repr(sample.labels[0][:20])
    return dataclasses.replace(example, error=error)


def _record_key(file: File, index: int) -> bytes:
    return os.fsencode(f"{file.name}#{index}")


def _names(unsorted: Iterable[str]) -> str:
    """Returns the first five names, sorted, and the number of the others."""
    names = sorted(unsorted)
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return (", ".join(map(repr, names[:5])) or "none") + more
