"""Checks of the configuration of preprocessing and augmentation."""

import pytest

from classifier.data.config import (
    GEOMETRIC_OPERATIONS,
    OPERATIONS,
    PUBLISHED_OPERATIONS,
    AugmentConfig,
    ImageConfig,
)


def test_the_operations_are_the_sixteen_published():
    assert len(set(PUBLISHED_OPERATIONS)) == len(PUBLISHED_OPERATIONS) == 16
    assert set(PUBLISHED_OPERATIONS) <= set(OPERATIONS)
    assert set(GEOMETRIC_OPERATIONS) < set(OPERATIONS)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: ImageConfig(size=8), r"image\.size\b.*\b8"),
        (lambda: ImageConfig(crop_fraction=0.0), r"image\.crop_fraction\b.*\b0\.0"),
        (lambda: ImageConfig(min_crop_area=1.1), r"image\.min_crop_area\b.*\b1\.1"),
        (lambda: AugmentConfig(num_ops=-1), r"augment\.num_ops\b.*-1"),
        (lambda: AugmentConfig(num_ops=17), r"augment\.num_ops\b.*\b16, got 17"),
        (lambda: AugmentConfig(magnitude=-0.5), r"augment\.magnitude\b.*-0\.5"),
        (lambda: AugmentConfig(cutout_pixels=-5.0), r"augment\.cutout_pixels\b.*-5"),
        (lambda: AugmentConfig(translate_pixels=-1.0), r"augment\.translate\w+\b.*-1"),
        (lambda: AugmentConfig(operations=()), r"augment\.operations"),
        (lambda: AugmentConfig(operations=("Rotat",)), "'Rotat'.*'Rotate'"),
    ],
)
def test_impossible_values_are_refused(make, named):
    with pytest.raises(ValueError, match=named):
        make()
