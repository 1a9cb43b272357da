"""Sizes of a source's images, by what their headers say."""

from __future__ import annotations

import io
import itertools
import statistics
from collections.abc import Iterator

from PIL import Image

from classifier.data import image_header, python_reader
from classifier.data.sources import Source
from stage.status import OK

#: Number of images whose headers are read.
SAMPLE = 64


def median_shorter_side(source: Source) -> int:
    """Returns the median of the images' shorter sides in pixels.

    Raises ValueError if no image can be read.
    """
    sides = list(shorter_sides(source))
    if not sides:
        raise ValueError(f"{source.spec}: expected images, found none that can be read")
    return round(statistics.median(sides))


def shorter_sides(source: Source) -> Iterator[int]:
    """Yields the shorter sides in pixels of images from files all over a source."""
    step = -(-len(source.files) // SAMPLE)
    files = source.files[::step]
    for file in files:
        examples = python_reader.read_examples(source.reader, [file])
        for example in itertools.islice(examples, -(-SAMPLE // len(files))):
            if example.status == OK and image_header.check(example.image) is None:
                yield min(Image.open(io.BytesIO(example.image)).size)
