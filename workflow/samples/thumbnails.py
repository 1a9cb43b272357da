"""Thumbnails of encoded images."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
from PIL import Image, UnidentifiedImageError

from classifier.data import image_header
from classifier.data.image_header import FORMATS, MAX_PIXELS
from stage.status import UNDECODABLE

#: Begin of the EXIF in a JPEG.
_EXIF = b"Exif\0\0"


@dataclasses.dataclass(frozen=True)
class Thumbnail:
    """A small image, or the reason why there is none."""

    encoded: bytes | None
    error: str = ""


def make_thumbnail(encoded: bytes, size: int) -> Thumbnail:
    """Returns an image scaled to a longer side of at most `size` pixels.

    Smaller images are enlarged by an integer factor, each pixel to a square. As in the
    evaluation, the first frame of an animation counts, and the orientation in the
    metadata does not.
    """
    refusal = image_header.check(encoded, MAX_PIXELS)
    if refusal is not None and refusal.status != UNDECODABLE:
        return Thumbnail(None, refusal.reason)
    # Pillow would read EXIF of any size, and gigabytes where it claims as much.
    encoded = encoded.replace(_EXIF, bytes(len(_EXIF)))
    try:
        image = Image.open(io.BytesIO(encoded), formats=FORMATS)
        image.draft(None, (2 * size, 2 * size))  # A JPEG is decoded at a lower scale.
        return Thumbnail(_encode(_resize(_to_eight_bits(image), size)))
    except UnidentifiedImageError:  # Its message has an address in memory.
        return Thumbnail(None, "no header of an image")
    except Exception as error:  # A broken image can raise anything in Pillow.
        return Thumbnail(None, " ".join(str(error).split()) or type(error).__name__)


def _to_eight_bits(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits.
        pixels = np.asarray(image).astype(np.uint32) >> 8
        image = Image.fromarray(pixels.astype(np.uint8))
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _resize(image: Image.Image, size: int) -> Image.Image:
    longer = max(image.size)
    if longer <= size:
        factor = size // longer
        width, height = (side * factor for side in image.size)
        return image.resize((width, height), Image.Resampling.NEAREST)
    width, height = (max(1, round(side * size / longer)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)


def _encode(image: Image.Image) -> bytes:
    """Returns a JPEG or a PNG on a gray background, whichever is shorter."""
    if image.mode == "RGBA":
        background = Image.new("RGBA", image.size, "gray")
        image = Image.alpha_composite(background, image).convert("RGB")
    jpeg, png = io.BytesIO(), io.BytesIO()
    image.save(jpeg, "JPEG", quality=75)
    image.save(png, "PNG", optimize=True)
    return min(jpeg.getvalue(), png.getvalue(), key=len)
