"""Configuration of image preprocessing and augmentation."""

from __future__ import annotations

import dataclasses
from typing import Literal

from stage.overrides import unknown
from stage.validation import check

#: RandAugment operations that move pixels and keep colors.
GEOMETRIC_OPERATIONS = ("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY")
#: The sixteen operations that ResNet-RS was trained with. The identity is not among
#: them: every drawn operation changes the image.
PUBLISHED_OPERATIONS = (
    *("AutoContrast", "Equalize", "Invert", "Rotate", "Posterize", "Solarize"),
    *("Color", "Contrast", "Brightness", "Sharpness", "ShearX", "ShearY"),
    *("TranslateX", "TranslateY", "Cutout", "SolarizeAdd"),
)
#: All operations that a recipe may name; add others here.
OPERATIONS = PUBLISHED_OPERATIONS
#: Most operations on an image, each of which is compiled: more leave noise.
MAX_NUM_OPS = 16
#: Smallest side of a network's input in pixels, and step of those that are chosen: a
#: network halves it five times.
SIZE_STEP = 32
#: Largest side of a network's input, in pixels.
MAX_SIZE = 4096


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """Preprocessing from encoded bytes to the network's square input.

    Attributes:
        size: Side of the network's input in pixels.
        crop_fraction: Side of the evaluation's center crop, as a share of the
            image's shorter side.
        min_crop_area: Smallest area of a training crop, as a share of the image's;
            1 resizes the whole image.
        random_flip: Whether training mirrors half of the images.
        interpolation: Resampling of the crop, in training and in evaluation.
        antialias: Whether shrinking averages over all pixels, as Pillow does, instead
            of the next ones only.
    """

    size: int = 160
    crop_fraction: float = 0.875
    min_crop_area: float = 0.08
    random_flip: bool = True
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    antialias: bool = False

    def __post_init__(self) -> None:
        check(
            SIZE_STEP <= self.size <= MAX_SIZE,
            f"image.size must be in {SIZE_STEP}..{MAX_SIZE}, got {self.size}",
        )
        for name in ("crop_fraction", "min_crop_area"):
            value = getattr(self, name)
            check(0 < value <= 1, f"image.{name} must be in (0, 1], got {value}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Augmentation of training images by RandAugment (Cubuk et al. 2019).

    Attributes:
        num_ops: Number of operations per image, drawn with replacement; 0 for none.
        magnitude: Strength; 10 is the nominal maximum of each operation.
        operations: Names of the operations to draw from.
        translate_pixels: Translation in pixels at magnitude 10. The published 100
            suits ImageNet's sizes.
        cutout_pixels: Half the side of Cutout's square in pixels at magnitude 10.
            The published 40 suits ImageNet's sizes.
        interpolation: Resampling of the geometric operations. `nearest` is the
            published one; `bilinear` preserves thin strokes in very small images.
        contrast_pivot: Gray level that Contrast moves pixels away from. `mean` is
            the image's mean, as in Pillow. `area` is the number of pixels divided by
            256, at most 255: the published code, which ResNet-RS was trained with,
            sums the histogram's counts instead of the intensities.
    """

    num_ops: int = 2
    magnitude: float = 10.0
    operations: tuple[str, ...] = PUBLISHED_OPERATIONS
    translate_pixels: float = 100.0
    cutout_pixels: float = 40.0
    interpolation: Literal["nearest", "bilinear"] = "nearest"
    contrast_pivot: Literal["mean", "area"] = "area"

    def __post_init__(self) -> None:
        check(
            0 <= self.num_ops <= MAX_NUM_OPS,
            f"augment.num_ops must be in 0..{MAX_NUM_OPS}, got {self.num_ops}",
        )
        for name in ("magnitude", "translate_pixels", "cutout_pixels"):
            value = getattr(self, name)
            check(value >= 0, f"augment.{name} must be >= 0, got {value}")
        check(len(self.operations) > 0, "augment.operations must name at least one")
        for name in self.operations:
            if name not in OPERATIONS:
                raise ValueError(unknown("operation", name, OPERATIONS))
