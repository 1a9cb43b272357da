"""Random squares of a part of a photograph."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from PIL import Image

#: Left, upper, right and lower edge in pixels.
Box: TypeAlias = tuple[int, int, int, int]
#: A lowest and a highest value.
Range: TypeAlias = tuple[float, float]


def draw_square(
    image: Image.Image,
    box: Box,
    rng: np.random.Generator,
    *,
    sides: Range,
    angles: Range,
    size: int,
) -> Image.Image:
    """Returns a random square of a photograph that shows no pixel outside `box`.

    Args:
        image: Photograph.
        box: Part of it.
        rng: Source of side, place and angle.
        sides: Range of the square's side in pixels, if the box has room for it.
        angles: Range of its rotation in radians.
        size: Side in pixels of what is returned.
    """
    left, upper, right, lower = box
    # A pixel more than a corner's distance from the middle, to interpolate.
    largest = math.sqrt(2) * (min(right - left, lower - upper) / 2 - 1)
    side = min(rng.uniform(*sides), largest)
    reach = side / math.sqrt(2) + 1
    x = rng.uniform(left + reach, right - reach)
    y = rng.uniform(upper + reach, lower - reach)
    angle, scale = rng.uniform(*angles), side / size
    cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
    middle = size / 2
    coefficients = (
        *(cosine, -sine, x - middle * (cosine - sine)),
        *(sine, cosine, y - middle * (sine + cosine)),
    )
    return image.transform(
        (size, size), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC
    )
