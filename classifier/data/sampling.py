"""A sample of unlabeled images, of which training can read every one.

A corpus has images that cannot be decoded, and more than a training sees. Training
stops at the first broken image, and its batches depend on their number. So all images
of the sample are decoded once before.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from classifier.data import (
    image_header,
    inspection,
    parallel,
    preprocessing,
    python_reader,
)
from classifier.data.examples import Example, File, key_text
from classifier.data.readers import MaskedReader, NumberedReader
from classifier.data.sources import Shard, Source
from stage import artifact
from stage.status import OK


@dataclasses.dataclass(frozen=True)
class UnlabeledSample:
    """Images that can be read and decoded.

    Attributes:
        source: The images in the order of their source, as one shard; examples have an
            `index`, from 0 on. `content` is the fingerprint of all images read.
        num_skipped: Number of images read that cannot be used; a file of records counts
            up to its first record that cannot be read.
        reason: Key of the first of them, and why; "" if there are none.
    """

    source: Source
    num_skipped: int
    reason: str

    @property
    def num_images(self) -> int:
        """Number of images in the sample."""
        return self.source.num_examples


@dataclasses.dataclass(frozen=True)
class _Found:
    """What was found in one file.

    Attributes:
        kept: Mask of the examples before the first that cannot be read.
        reasons: Key and reason of those that cannot be used.
        digest: SHA-256 of all examples.
        compression: Compression of the file, as `File` names it.
    """

    kept: NDArray[np.bool_]
    reasons: list[str]
    digest: bytes
    compression: str = ""

    def first(self, count: int) -> _Found:
        """Returns the same with at most `count` examples kept."""
        kept = self.kept & (np.cumsum(self.kept) <= count)
        return dataclasses.replace(self, kept=kept)


def draw(source: Source, max_images: int) -> UnlabeledSample:
    """Reads files in the order of a hash of their names, up to `max_images` images.

    Which images are drawn depends on the files alone. Of files of records whole ones
    are drawn, except for the last.

    Raises:
        ValueError: If no image can be used.
        OSError: If a transient error persists.
    """
    found: dict[int, _Found] = {}
    room = max_images
    for index, of_file in _read_in_order(source):
        found[index] = of_file.first(room)
        room -= int(found[index].kept.sum())
        if not room:
            break
    reasons = [reason for index in sorted(found) for reason in found[index].reasons]
    if room == max_images:
        first = f": {reasons[0]}" if reasons else ""
        raise ValueError(f"{source.spec}: expected images, found none to use{first}")
    return UnlabeledSample(
        source=_restricted(source, found),
        num_skipped=len(reasons),
        reason=reasons[0] if reasons else "",
    )


def count(source: Source, max_images: int) -> int:
    """Returns the number of examples, at most `max_images`; none is decoded.

    Files of records are read until there are so many.
    """
    if source.known_examples is not None:
        return min(source.known_examples, max_images)
    examples = python_reader.read_examples(source.reader, source.files)
    readable = (example for example in examples if example.status == OK)
    return sum(1 for _ in itertools.islice(readable, max_images))


def _read_in_order(source: Source) -> Iterator[tuple[int, _Found]]:
    """Yields index and findings of one file after the other, read in parallel."""
    files = source.files
    order = sorted(range(len(files)), key=lambda index: _hash(files[index]))

    def read(file: File, examples: Iterable[Example]) -> _Found:
        found = _read(examples)
        if inspection.may_be_compressed(source.reader):
            found = _with_compression(file, found)
        return found

    ordered = [files[index] for index in order]
    found = parallel.read_each(source.reader, ordered, read)
    return zip(order, found, strict=True)


def _read(examples: Iterable[Example]) -> _Found:
    kept, reasons, digest = [], [], hashlib.sha256()
    for example in examples:
        image = hashlib.sha256(example.image).digest()
        digest.update(b"%d %s " % (len(example.key), example.status.encode()))
        digest.update(example.key + image)
        reason = example.error if example.status != OK else _undecodable(example.image)
        if reason:
            reasons.append(f"{key_text(example.key)}: {reason}")
        if example.status != OK:
            break  # TensorFlow would stop here.
        kept.append(not reason)
    return _Found(np.array(kept, np.bool_), reasons, digest.digest())


def _undecodable(encoded: bytes) -> str:
    """Returns why an image cannot be decoded, "" if it can."""
    refusal = image_header.check(encoded)
    if refusal:
        return refusal.reason
    try:
        preprocessing.decode(encoded)
    except tf.errors.InvalidArgumentError:
        return "image cannot be decoded"
    return ""


def _with_compression(file: File, found: _Found) -> _Found:
    """Finds a file's compression, and whether TensorFlow reads as many records."""
    if not len(found.kept):
        return found
    compression = inspection.find_compression(file)
    if compression:
        count = inspection.count_compressed(file, compression)
        if count < len(found.kept):
            reason = f"{file.name}: {compression} that TensorFlow cannot read"
            nothing = np.zeros(0, np.bool_)
            return dataclasses.replace(found, kept=nothing, reasons=[reason])
    return dataclasses.replace(found, compression=compression)


def _restricted(source: Source, found: dict[int, _Found]) -> Source:
    files, first = [], 0
    for index in sorted(found):
        kept = found[index].kept
        if kept.any():
            file = dataclasses.replace(
                source.files[index],
                kept=kept.tobytes(),
                count=len(kept),
                first=first,
                compression=found[index].compression,
            )
            files.append(file)
            first += int(kept.sum())
    return dataclasses.replace(
        source,
        shards=(Shard(0, tuple(files)),),
        reader=NumberedReader(MaskedReader(source.reader)),
        content=artifact.fingerprint(found[index].digest for index in sorted(found)),
        labels=(),
    )


def _hash(file: File) -> tuple[bytes, int]:
    name = hashlib.blake2b(os.fsencode(file.name), digest_size=16).digest()
    return name, file.skip
