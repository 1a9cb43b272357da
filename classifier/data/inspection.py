"""One pass over labeled images before any work.

Every record is read once: a missing label, a broken record or an empty set is found
before hours of work, and the description of the images covers their content.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Iterable, Sequence

import tensorflow as tf

from classifier.data import image_header, leak, opening, orientation, parallel, tfrecord
from classifier.data.examples import UNLABELED, Example, File, Reader, key_text
from classifier.data.readers import RecordReader, TfdsReader
from classifier.data.sources import Shard, Source
from stage import artifact
from stage.status import BAD_RECORD, OK

#: Maximum number of examples in an error message.
MAX_LISTED = 3
_HINT = "--image_feature and --label_feature name other features or extensions"


@dataclasses.dataclass
class _Findings:
    """What was found in one file.

    Attributes:
        labels: Key and label of every example.
        num_readable: Number of examples that are images.
        unreadable: Key and reason of the first examples that are no images.
        mislabeled: Key and reason of the first images without a label in range.
        needs_hint: Whether another feature or extension may be the right one.
        digest: SHA-256 of all examples.
        compression: Compression of the file, as `File` names it.
        digests: First bytes of the SHA-256 of all images.
        num_turned: Number of images that are stored turned.
    """

    labels: list[tuple[bytes, int]] = dataclasses.field(default_factory=list)
    num_readable: int = 0
    unreadable: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    mislabeled: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    needs_hint: bool = False
    digest: bytes = b""
    compression: str = ""
    digests: bytes = b""
    num_turned: int = 0


def inspect(source: Source, *, for_training: bool = False) -> Source:
    """Returns a labeled source with counts, labels and fingerprint of its content.

    A source that has been inspected is returned as it is.

    Args:
        source: The images.
        for_training: Whether all must be readable, according to their headers, as
            training needs it. Otherwise some may not be, but not all.

    Raises:
        ValueError: If there is no image, one cannot be used, or a label is missing or
            not in 0..K-1; names the first few.
        OSError: If a transient error persists.
    """
    if source.content:
        return source
    num_classes = len(source.labeled_class_names())

    def read(file: File, examples: Iterable[Example]) -> _Findings:
        findings = _read(examples, num_classes)
        if may_be_compressed(source.reader):
            _find_compression(file, findings, for_training)
        return findings

    found: list[_Findings] = []
    num_bad = 0
    for of_file in parallel.read_each(source.reader, source.files, read):
        found.append(of_file)
        num_bad += len(of_file.mislabeled) + for_training * len(of_file.unreadable)
        if num_bad >= MAX_LISTED:
            break
    _check(source.spec, found, for_training)
    return _with_findings(source, found)


def _read(examples: Iterable[Example], num_classes: int) -> _Findings:
    found, digest, digests = _Findings(), hashlib.sha256(), bytearray()
    for example in examples:
        key, label = example.key, example.label
        found.labels.append((key, label))
        image = hashlib.sha256(example.image).digest()
        digest.update(b"%d %d %s " % (len(key), label, example.status.encode()))
        digest.update(key + image)
        digests += image[: leak.DIGEST_BYTES]
        reason = why_unreadable(example)
        if reason:
            found.unreadable.append((key_text(key), reason))
            found.needs_hint |= example.status == BAD_RECORD
        else:
            found.num_readable += 1
            found.num_turned += orientation.is_turned(example.image)
        if example.status == OK and not 0 <= label < num_classes:
            got = "none" if label == UNLABELED else label
            reason = f"expected a label in 0..{num_classes - 1}, got {got}"
            found.mislabeled.append((key_text(key), example.error or reason))
            found.needs_hint |= bool(example.error)
        del found.unreadable[MAX_LISTED:], found.mislabeled[MAX_LISTED:]
    found.digest, found.digests = digest.digest(), bytes(digests)
    return found


def why_unreadable(example: Example) -> str:
    """Returns why an example is no image that can be read, "" if it is one."""
    if example.status != OK:
        return example.error
    refusal = image_header.check(example.image)
    return refusal.reason if refusal else ""


def _find_compression(file: File, found: _Findings, for_training: bool) -> None:
    """Finds a file's compression, and whether TensorFlow reads it as Python does."""
    if found.unreadable and not found.num_readable:
        return
    found.compression = find_compression(file)
    if not found.compression or not for_training:
        return
    count = count_compressed(file, found.compression)
    if count != len(found.labels):
        reason = (
            f"TensorFlow reads {count:,} of {len(found.labels):,} records of this "
            f"{found.compression} file; write them without compression"
        )
        found.unreadable.append((file.name, reason))


def may_be_compressed(reader: Reader) -> bool:
    """Whether files are of records whose compression is found by their content."""
    return isinstance(reader, RecordReader) and not isinstance(reader, TfdsReader)


def find_compression(file: File) -> str:
    """Returns the compression of a file of records by its content."""
    with opening.open_file(file) as stream:
        return tfrecord.find_compression(stream, file.path)


def count_compressed(file: File, compression: str) -> int:
    """Returns the number of records that TensorFlow reads; 0 if it cannot."""
    try:
        records = tf.data.TFRecordDataset(file.path, compression)
        return int(records.reduce(0, lambda count, _: count + 1))
    except tf.errors.OpError:
        return 0


def _check(spec: str, found: Sequence[_Findings], for_training: bool) -> None:
    """Raises ValueError if the images cannot be used."""
    problems = [problem for of_file in found for problem in of_file.mislabeled]
    unreadable = [problem for of_file in found for problem in of_file.unreadable]
    if for_training or not any(of_file.num_readable for of_file in found):
        problems += unreadable
    if problems:
        # The first of each kind.
        name_of = {reason: name for name, reason in reversed(problems)}
        listed = [f"{name}: {reason}" for reason, name in reversed(name_of.items())]
        more = " (and others)" if len(problems) > len(listed[:MAX_LISTED]) else ""
        hint = f"; {_HINT}" if any(of_file.needs_hint for of_file in found) else ""
        raise ValueError(f"{spec}: {'; '.join(listed[:MAX_LISTED])}{more}{hint}")
    if not any(of_file.labels for of_file in found):
        raise ValueError(f"{spec}: expected labeled images, found none")


def _with_findings(source: Source, found: Sequence[_Findings]) -> Source:
    files = iter(
        dataclasses.replace(
            file, count=len(of_file.labels), compression=of_file.compression
        )
        for file, of_file in zip(source.files, found, strict=True)
    )
    shards = tuple(
        Shard(shard.index, tuple(itertools.islice(files, len(shard.files))))
        for shard in source.shards
    )
    return dataclasses.replace(
        source,
        shards=shards,
        content=artifact.fingerprint(of_file.digest for of_file in found),
        labels=tuple(of_file.labels for of_file in found),
        digests=tuple(of_file.digests for of_file in found),
        num_turned=sum(of_file.num_turned for of_file in found),
    )
