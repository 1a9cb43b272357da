"""What a user should know about the images of a training before it begins."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from classifier.data import image_sides, leak, orientation
from classifier.data.sources import Source

#: Factor by which images may be larger than the input of the network.
_MAX_REDUCTION = 8


def describe(labeled: Source, evaluation: Source, *, side: int) -> Iterator[str]:
    """Yields a line for each peculiarity of images that have been inspected.

    `side` is the side of the network's input in pixels.
    """
    if shared := leak.count_shared(labeled, evaluation):
        yield (
            f"warning: {shared:,} of {evaluation.num_examples:,} images of "
            f"{evaluation.spec}, to evaluate on, are also in {labeled.spec}, to train "
            "on: the accuracy on them says little about other images"
        )
    for source in (labeled, evaluation):
        if source.num_turned:
            of = f"{source.num_examples:,} images of {source.spec}"
            yield orientation.describe(source.num_turned, of)
    yield from _describe_size(labeled, side)


def _describe_size(source: Source, side: int) -> Iterator[str]:
    if any("://" in file.path for file in source.files):
        return  # Each header would be a request.
    # None can be read if the files have changed since; training itself reports that.
    median = round(statistics.median(list(image_sides.shorter_sides(source)) or [0]))
    if median > _MAX_REDUCTION * side:
        yield (
            f"images of about {median:,} px (median of the shorter sides) are reduced "
            f"to {side} px: another --preset=, or --set=image.size={2 * side}, shows "
            "the network more detail"
        )
