"""Numbers and sizes of a run's images, by what their headers say."""

from __future__ import annotations

import io
import itertools
import statistics
from collections.abc import Iterator
from typing import Any

from PIL import Image

from classifier.data import image_header, python_reader, sampling
from classifier.data.sources import Source, open_source
from stage.status import OK
from workflow.choice.cost import Counts

#: Number of images whose headers are read.
SAMPLE = 64
#: Largest number of images that is counted if files have to be read for it.
_MAX_COUNTED = 1_000_000


def count(
    labeled: str,
    unlabeled: str | None,
    *,
    unlabeled_image_feature: str | None,
    **how: Any,
) -> tuple[Counts, int]:
    """Returns the numbers of images, and the median shorter side of labeled ones.

    Args:
        labeled: Labeled images.
        unlabeled: Images without labels; None without.
        unlabeled_image_feature: Name of the image feature of the unlabeled ones.
        how: Arguments of `open_source` for the labeled ones.

    Raises:
        ValueError: If a source has no image that can be read, or no labels.
        FileNotFoundError: If one does not exist.
    """
    source = open_source(labeled, **how)
    corpus = unlabeled and open_source(
        unlabeled,
        data_dir=how.get("data_dir"),
        image_feature=unlabeled_image_feature,
    )
    counts = Counts(
        labeled=sampling.count(source, _MAX_COUNTED),
        unlabeled=sampling.count(corpus, _MAX_COUNTED) if corpus else 0,
        classes=len(source.labeled_class_names()),
    )
    sides = list(shorter_sides(source))
    if not sides:
        raise ValueError(f"{labeled}: expected images, found none that can be read")
    return counts, round(statistics.median(sides))


def shorter_sides(source: Source) -> Iterator[int]:
    """Yields the shorter sides in pixels of images from files all over a source."""
    step = -(-len(source.files) // SAMPLE)
    files = source.files[::step]
    for file in files:
        examples = python_reader.read_examples(source.reader, [file])
        for example in itertools.islice(examples, -(-SAMPLE // len(files))):
            if example.status == OK and image_header.check(example.image) is None:
                yield min(Image.open(io.BytesIO(example.image)).size)
