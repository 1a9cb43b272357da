"""Numbers and sizes of a run's images, by what their headers say.

Of records in a bucket, the numbers are estimates: a choice needs no more.
"""

from __future__ import annotations

from typing import Any

from classifier.data import counting, excerpt, image_sides
from classifier.data.counting import ImageCount
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
    classes = len(source.labeled_class_names())
    with excerpt.take(source) as found:
        known = counting.count(source, _MAX_COUNTED, found)
        side = image_sides.median_shorter_side(found.part)
    others = counting.count(corpus, _MAX_COUNTED) if corpus else ImageCount(0)
    if corpus and not others.number:
        raise ValueError(
            f"{corpus.spec}: expected images, found {others} that can be read"
        )
    numbers = {"labeled": known, "unlabeled": others}
    counts = Counts(
        labeled=known.number,
        unlabeled=others.number,
        classes=classes,
        estimated=tuple(name for name, of in numbers.items() if of.is_estimate),
    )
    return counts, side
