"""Numbers and sizes of a run's images, by what their headers say."""

from __future__ import annotations

from typing import Any

from classifier.data import image_sides, sampling
from classifier.data.sources import open_source
from workflow.choice.cost import Counts

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
    return counts, image_sides.median_shorter_side(source)
