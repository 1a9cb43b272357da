"""Configuration of the network's input: preprocessing and augmentation."""

from __future__ import annotations

import dataclasses
from typing import Literal

from stage.overrides import unknown
from stage.validation import check

#: Geometric operations of RandAugment: they move pixels and leave colors alone.
GEOMETRIC_OPERATIONS = ("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY")
#: The sixteen operations ResNet-RS was trained with. There is no identity: an
#: operation that is drawn is applied.
OPERATIONS = (
    *("AutoContrast", "Equalize", "Invert", "Rotate", "Posterize", "Solarize"),
    *("Color", "Contrast", "Brightness", "Sharpness", "ShearX", "ShearY"),
    *("TranslateX", "TranslateY", "Cutout", "SolarizeAdd"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """From encoded bytes to the square the network sees.

    Attributes:
        size: Side of the network's input in pixels.
        crop_fraction: Side of the evaluation's center crop, as a share of the
            image's shorter side.
        min_crop_area: Smallest area of a training crop as a share of the image;
            1 resizes the whole image.
        random_flip: Whether training mirrors half of the images.
    """

    size: int = 160
    crop_fraction: float = 0.875
    min_crop_area: float = 0.08
    random_flip: bool = True

    def __post_init__(self) -> None:
        # Stem, pool and three stages halve the image five times.
        check(self.size >= 32, f"image.size must be at least 32, got {self.size}")
        for name in ("crop_fraction", "min_crop_area"):
            value = getattr(self, name)
            check(0 < value <= 1, f"image.{name} must be in (0, 1], got {value}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Noise on the training images: RandAugment (Cubuk et al. 2019).

    Attributes:
        num_ops: Operations drawn for each image, with replacement; 0 for none.
        magnitude: Strength, where 10 is an operation's nominal maximum.
        operations: Names of the operations to draw from.
        translate_pixels: Translation in pixels at magnitude 10. The published 100
            is for ImageNet's sizes.
        cutout_pixels: Half the side of Cutout's square in pixels at magnitude 10;
            the published 40 is for ImageNet's sizes.
        interpolation: How the geometric operations resample. `nearest` is the
            published one, `bilinear` keeps the strokes of very small images.
        contrast_pivot: The gray that Contrast moves pixels away from. `mean` is
            the image's own, as in Pillow; `area` is what ResNet-RS was trained
            with, where a sum of counts took the place of a sum of intensities: the
            number of pixels over 256, at most 255.
    """

    num_ops: int = 2
    magnitude: float = 10.0
    operations: tuple[str, ...] = OPERATIONS
    translate_pixels: float = 100.0
    cutout_pixels: float = 40.0
    interpolation: Literal["nearest", "bilinear"] = "nearest"
    contrast_pivot: Literal["mean", "area"] = "area"

    def __post_init__(self) -> None:
        check(self.num_ops >= 0, f"augment.num_ops must be >= 0, got {self.num_ops}")
        check(
            self.magnitude >= 0, f"augment.magnitude must be >= 0, got {self.magnitude}"
        )
        check(len(self.operations) > 0, "augment.operations must name at least one")
        for name in self.operations:
            if name not in OPERATIONS:
                raise ValueError(unknown("operation", name, OPERATIONS))
