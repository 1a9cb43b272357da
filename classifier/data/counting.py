"""Numbers of images, exact or estimated."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

from classifier.data import excerpt, python_reader
from classifier.data.excerpt import Excerpt
from classifier.data.sources import Source
from stage.status import CORRUPT_RECORD, OK


@dataclasses.dataclass(frozen=True)
class ImageCount:
    """A number of images; `is_estimate` says whether they were not all counted."""

    number: int
    is_estimate: bool = False

    def __str__(self) -> str:
        return f"{'about ' if self.is_estimate else ''}{self.number:,}"


def count(source: Source, max_images: int, found: Excerpt | None = None) -> ImageCount:
    """Returns the number of images, at most `max_images`; none is decoded.

    Local files of records are read until there are so many. Of files in a bucket an
    excerpt is read, `found` if it is at hand, and the number is estimated from it,
    unless it is all of them.
    """
    if source.known_examples is not None:
        return ImageCount(min(source.known_examples, max_images))
    if found is None:
        with excerpt.take(source) as found:
            return count(source, max_images, found)
    readable = (status for status in _statuses(found.part) if status == OK)
    number = sum(1 for _ in itertools.islice(readable, max_images))
    if found.share == 1:
        return ImageCount(number)
    if list(itertools.islice(_statuses(found.part), 2)) == [CORRUPT_RECORD]:
        number = 1  # All that there is of the first record is its beginning.
    estimate = int(float(f"{number / found.share:.2g}")) if found.share else 0
    return ImageCount(min(estimate, max_images), is_estimate=True)


def _statuses(source: Source) -> Iterator[str]:
    examples = python_reader.read_examples(source.reader, source.files)
    return (example.status for example in examples)
