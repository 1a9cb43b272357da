"""A sample of unlabeled images, of which training can read every one.

A corpus has images that cannot be decoded, and more than a training sees. Training
stops at the first broken image, and its batches depend on their number. So all images
of the sample are decoded once before.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from classifier.data import inspection, parallel, preprocessing
from classifier.data.examples import Example, File, key_text, name_hash
from classifier.data.readers import NumberedReader, RecordReader
from classifier.data.sources import Shard, Source
from stage import artifact
from stage.licenses import Origin
from stage.status import BAD_RECORD, OK

#: Images after which a source is given up if none of them can be used: most likely the
#: feature has another name.
_MAX_IN_VAIN = 10_000


@dataclasses.dataclass(frozen=True)
class ExcludedImages:
    """Images that must not be drawn.

    Attributes:
        digests: SHA-256 of each encoded image: exact copies alone are found.
        sources: Descriptions of their sources.
    """

    digests: frozenset[bytes] = frozenset()
    sources: tuple[dict[str, Any], ...] = ()


@dataclasses.dataclass(frozen=True)
class UnlabeledSample:
    """Images that can be read and decoded.

    Attributes:
        source: The images as one shard; examples have an `index`, from 0 on. `content`
            is the fingerprint of all images read.
        num_skipped: Number of images read that cannot be used.
        reason: Key of the first of them, and why; "" if there are none.
        unread: Key of the first record or file that cannot be read, and why, of every
            file with one: nothing behind it is in the sample.
        excluded: Images that were not to be drawn.
        num_excluded: Number of images read that are among them.
        origin: The images that the sample was drawn from.
    """

    source: Source
    num_skipped: int
    reason: str
    unread: tuple[str, ...]
    excluded: ExcludedImages
    num_excluded: int
    origin: Origin

    @property
    def num_images(self) -> int:
        """Number of images in the sample."""
        return self.source.num_examples


@dataclasses.dataclass(frozen=True)
class _Found:
    """What was found in one file.

    Attributes:
        kept: Mask of the examples read.
        digest: SHA-256 of the examples read.
        num_skipped: Number of those that cannot be used.
        reason: Key of the first of them, and why; "" if there are none.
        unread: Key of the example with which reading ended because it cannot be read,
            and why; "" if there is none.
        num_excluded: Number of those that must not be drawn.
        compression: Compression of the file, as `File` names it.
    """

    kept: NDArray[np.bool_]
    digest: bytes
    num_skipped: int = 0
    reason: str = ""
    unread: str = ""
    num_excluded: int = 0
    compression: str = ""

    @property
    def num_lost(self) -> int:
        """Number of examples that are of no use, of an unread rest one."""
        return self.num_skipped + bool(self.unread)

    def first(self, count: int) -> _Found:
        """Returns the same without what is behind the example kept as `count`-th."""
        end = int(np.searchsorted(np.cumsum(self.kept), count)) + 1
        return dataclasses.replace(self, kept=self.kept[:end])


def read_excluded(sources: Iterable[Source]) -> ExcludedImages:
    """Reads images that must not be drawn.

    Raises:
        ValueError: If there is no image, or one that cannot be read.
        OSError: If a transient error persists.
    """
    digests: set[bytes] = set()
    descriptions = []
    for source in sources:
        by_file = parallel.read_each(source.reader, source.files, _read_digests)
        try:
            found = list(itertools.chain.from_iterable(by_file))
        except ValueError as error:
            raise ValueError(f"{source.spec}: {error}") from error
        if not found:
            raise ValueError(f"{source.spec}: expected images to exclude, found none")
        digests.update(found)
        content = artifact.fingerprint(found)
        descriptions.append(dataclasses.replace(source, content=content).describe())
    return ExcludedImages(frozenset(digests), tuple(descriptions))


def draw(
    source: Source,
    max_images: int,
    *,
    input_shards: int = 1,
    excluded: ExcludedImages = ExcludedImages(),
) -> UnlabeledSample:
    """Reads files in the order of a hash of their names, up to `max_images` images.

    Which images are drawn depends on files and arguments alone. Of a file of records
    the first ones are drawn, at most an input shard's equal share of `max_images`; no
    record behind them is read.

    Raises:
        ValueError: If no image can be used.
        OSError: If a transient error persists.
    """
    found = _find(source, max_images // input_shards, input_shards, excluded.digests)
    by_file = [found[index] for index in sorted(found)]
    num_excluded = sum(of_file.num_excluded for of_file in by_file)
    reason = next((of_file.reason for of_file in by_file if of_file.reason), "")
    unread = tuple(of_file.unread for of_file in by_file if of_file.unread)
    if not any(of_file.kept.any() for of_file in by_file):
        num_lost = sum(of_file.num_lost for of_file in by_file)
        example = f", as {reason or unread[0]}" if num_lost else ""
        raise ValueError(
            f"{source.spec}: expected images to learn from, found none: "
            f"{num_excluded:,} are excluded, {num_lost:,} cannot be used{example}"
        )
    return UnlabeledSample(
        source=_restricted(source, found, input_shards),
        num_skipped=sum(of_file.num_skipped for of_file in by_file),
        reason=reason,
        unread=unread,
        excluded=excluded,
        num_excluded=num_excluded,
        origin=source.origin(),
    )


def _find(
    source: Source, share: int, input_shards: int, excluded: frozenset[bytes]
) -> dict[int, _Found]:
    """Returns findings by index of the file, in the order of drawing.

    Of a file at most `share` images are kept, of all a share for each input shard.
    """
    found: dict[int, _Found] = {}
    room = most = share * input_shards
    num_lost = 0
    for index, of_file in _read_in_order(source, share, excluded):
        found[index] = of_file.first(room)
        room -= int(found[index].kept.sum())
        num_lost += of_file.num_lost
        if not room or (room == most and num_lost >= _MAX_IN_VAIN):
            break
    return found


def _read_in_order(
    source: Source, limit: int, excluded: frozenset[bytes]
) -> Iterator[tuple[int, _Found]]:
    """Yields index and findings of one file after the other, read in parallel."""
    files = source.files
    order = sorted(range(len(files)), key=lambda index: name_hash(files[index]))

    def read(file: File, examples: Iterable[Example]) -> _Found:
        found = _read(examples, limit, excluded)
        if inspection.may_be_compressed(source.reader):
            found = _with_compression(file, found)
        return found

    ordered = [files[index] for index in order]
    found = parallel.read_each(source.reader, ordered, read)
    return zip(order, found, strict=True)


def _read(
    examples: Iterable[Example], limit: int, excluded: frozenset[bytes]
) -> _Found:
    """Reads examples until `limit` can be kept."""
    kept: list[bool] = []
    num_skipped, first, unread = 0, "", ""
    num_excluded, digest = 0, hashlib.sha256()
    for example in examples:
        image = hashlib.sha256(example.image).digest()
        digest.update(b"%d %s " % (len(example.key), example.status.encode()))
        digest.update(example.key + image)
        if example.status not in (OK, BAD_RECORD):
            unread = f"{key_text(example.key)}: {example.error}"
            break  # TensorFlow would stop here.
        is_excluded = example.status == OK and image in excluded
        reason = "" if is_excluded else why_unusable(example)
        if reason:
            num_skipped += 1
            first = first or f"{key_text(example.key)}: {reason}"
        num_excluded += is_excluded
        kept.append(not (reason or is_excluded))
        limit -= kept[-1]
        if not limit:
            break
    return _Found(
        kept=np.array(kept, np.bool_),
        digest=digest.digest(),
        num_skipped=num_skipped,
        reason=first,
        unread=unread,
        num_excluded=num_excluded,
    )


def _read_digests(file: File, examples: Iterable[Example]) -> list[bytes]:
    """Returns the SHA-256 of each image; raises ValueError if one cannot be read."""
    digests = []
    for example in examples:
        if example.status != OK:
            raise ValueError(f"cannot exclude an image of {file.name}: {example.error}")
        digests.append(hashlib.sha256(example.image).digest())
    return digests


def why_unusable(example: Example) -> str:
    """Returns why an image cannot be read and decoded, "" if it can."""
    if reason := inspection.why_unreadable(example):
        return reason
    try:
        preprocessing.decode(example.image)
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
            unread = f"{file.name}: {compression} that TensorFlow cannot read"
            nothing = np.zeros(0, np.bool_)
            return _Found(kept=nothing, digest=found.digest, unread=unread)
    return dataclasses.replace(found, compression=compression)


def _restricted(source: Source, found: dict[int, _Found], input_shards: int) -> Source:
    """Returns the images kept, for several input shards the largest files first.

    They get every so many files, so their numbers of images differ by those of one file
    at most.
    """
    order = sorted(found)
    if input_shards > 1:
        order.sort(key=lambda index: -found[index].kept.sum())
    files, first = [], 0
    for index in order:
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
    reader = source.reader
    if isinstance(reader, RecordReader):
        # The image alone is needed: where a record lacks another feature of its
        # dataset, or its label is no integer, TensorFlow would stop.
        reader = RecordReader(reader.image_feature, label_feature=None)
    return dataclasses.replace(
        source,
        spec=f"sample of {source.spec}",
        shards=(Shard(0, tuple(files)),),
        reader=NumberedReader(reader),
        content=artifact.fingerprint(found[index].digest for index in sorted(found)),
        labels=(),
    )
