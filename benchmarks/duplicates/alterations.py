"""Different pictures, and copies of them that people make."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

from PIL import Image, ImageOps

from examples.image_folders.squares import Box
from examples.photographs import parts

#: Function from a picture to an altered copy of it, as a file.
Alteration = Callable[[Image.Image], bytes]
_QUALITY = 95


def draw_pictures(*, seed: int = 0) -> Iterator[bytes]:
    """Yields 90 pictures: the nine cells of ten photographs, of which none overlap."""
    for photograph in parts.load_photographs(seed=seed).values():
        for cell in sorted((*photograph.test, *photograph.labeled)):
            yield encode(_cut(photograph.image, cell))


def _cut(image: Image.Image, cell: Box) -> Image.Image:
    left, upper, right, lower = cell
    side = min(right - left, lower - upper)
    square = image.crop((left, upper, left + side, upper + side))
    return square.resize((parts.SIZE, parts.SIZE), Image.Resampling.BICUBIC)


def encode(image: Image.Image, quality: int = _QUALITY) -> bytes:
    """Returns a JPEG."""
    file = io.BytesIO()
    image.save(file, "jpeg", quality=quality)
    return file.getvalue()


def compress(quality: int) -> Alteration:
    """Returns an alteration: the same pixels, compressed again."""
    return lambda image: encode(image, quality)


def halve(image: Image.Image) -> bytes:
    """Returns a picture of half the size, in a usual quality."""
    return encode(image.reduce(2), 75)


def crop(percent: int) -> Alteration:
    """Returns an alteration: a part of each side is cut off."""

    def alter(image: Image.Image) -> bytes:
        return encode(ImageOps.crop(image, round(image.width * percent / 100)))

    return alter


def mirror(image: Image.Image) -> bytes:
    """Returns the picture as in a mirror."""
    return encode(ImageOps.mirror(image))


def darken(image: Image.Image) -> bytes:
    """Returns a picture with two thirds of the light."""
    return encode(image.point(lambda value: value * 2 // 3))


ALTERATIONS: dict[str, Alteration] = {
    "JPEG of quality 90": compress(90),
    "JPEG of quality 50": compress(50),
    "half the size and JPEG 75": halve,
    "two thirds of the light": darken,
    **{
        f"{percent} % cropped from each side": crop(percent)
        for percent in (1, 5, 10, 20)
    },
    "mirrored": mirror,
}
