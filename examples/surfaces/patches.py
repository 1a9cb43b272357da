"""Patches of ten photographs that scikit-image's package contains.

Nothing is downloaded. Each kind of surface is one photograph, text two. A photograph is
cut in two across its longer side: patches to test on come from the shorter part, all
others from the longer one, so no pixel of a test picture is in another split. Patches
of one part may overlap, as labeled and unlabeled pictures of one place do.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from PIL import Image, ImageFilter

from examples.image_folders.scikit import load_photograph
from examples.image_folders.squares import Box, draw_square

#: Photographs of each class, as `scikit.load_photograph` names them.
PHOTOGRAPHS: dict[str, tuple[str, ...]] = {
    "brick": ("brick",),
    "cells": ("cell",),
    "coins": ("coins",),
    "fur": ("chelsea",),
    "grass": ("grass",),
    "gravel": ("gravel",),
    "moon": ("moon",),
    "retina": ("retina",),
    "stars": ("hubble_deep_field",),
    "text": ("page", "text"),
}
CLASS_NAMES = tuple(PHOTOGRAPHS)
#: Side of a picture in pixels.
SIZE = 64
#: Share of a photograph's longer side from which the test pictures come.
TEST_SHARE = 0.3
#: Smallest and largest side in pixels of the square of the photograph that is shown.
SIDES = (48.0, 80.0)
#: Smallest share of the brightness that is left.
DARKEST = 0.25
#: Largest radius of the blur, in pixels of the picture.
MAX_BLUR = 1.75
_ANGLES = (0.0, 2 * math.pi)


@dataclasses.dataclass(frozen=True)
class Photograph:
    """A gray photograph, and the parts of it that test and other pictures show."""

    image: Image.Image
    test: Box
    rest: Box


def load_photographs(*, seed: int) -> dict[str, tuple[Photograph, ...]]:
    """Returns the photographs of each class; the seed chooses the ends to test on."""
    ends = np.random.default_rng(seed)
    return {
        name: tuple(
            _divide(load_photograph(photo).convert("L"), at_end=bool(ends.integers(2)))
            for photo in photos
        )
        for name, photos in PHOTOGRAPHS.items()
    }


def draw_patch(image: Image.Image, box: Box, rng: np.random.Generator) -> Image.Image:
    """Returns a rotated, darkened and blurred square of the photograph inside `box`."""
    patch = draw_square(image, box, rng, sides=SIDES, angles=_ANGLES, size=SIZE)
    brightness = rng.uniform(DARKEST, 1.0)
    patch = patch.point(lambda value: round(brightness * value))
    return patch.filter(ImageFilter.GaussianBlur(rng.uniform(0.0, MAX_BLUR)))


def _divide(image: Image.Image, *, at_end: bool) -> Photograph:
    """Returns the photograph with its test part at the right or lower end, or not."""
    width, height = image.size
    is_wide = width >= height
    length = width if is_wide else height
    share = 1 - TEST_SHARE if at_end else TEST_SHARE
    cut = round(share * length)
    if is_wide:
        parts = (0, 0, cut, height), (cut, 0, width, height)
    else:
        parts = (0, 0, width, cut), (0, cut, width, height)
    test, rest = reversed(parts) if at_end else parts
    return Photograph(image, test, rest)
