"""Whether an image is stored turned: what its header says, which is not applied.

Cameras store pixels as the sensor has read them, and note in the EXIF data how they
were held. Browsers and viewers turn the image accordingly. TensorFlow, torchvision and
Pillow do not unless they are asked, so published weights were trained and evaluated on
images as they are stored. This project reads them so everywhere, in training, labeling
and the exported graph, and counts those that a viewer would turn.
"""

from __future__ import annotations

import io

from PIL import Image

from classifier.data.image_header import FORMATS

_ORIENTATION, _UPRIGHT = 0x0112, 1
_TURNED = range(2, 9)
#: Bytes that every image with EXIF data holds, in JPEG, PNG and WebP.
_MARKS = (b"Exif\0\0", b"eXIf", b"EXIF")
#: Bytes of an image in which EXIF data are looked for: a JPEG has them in its first
#: segments of 64 KiB.
_HEAD = 2**18


def is_turned(encoded: bytes) -> bool:
    """Returns whether an image that `image_header.check` allows is stored turned."""
    head = encoded[:_HEAD]
    if not any(mark in head for mark in _MARKS):
        return False
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            return image.getexif().get(_ORIENTATION, _UPRIGHT) in _TURNED
    except Exception:  # Broken EXIF data can raise anything in Pillow's parsers.
        return False


def describe(count: int, of: str) -> str:
    """Returns a warning that some images are stored turned; `of` names all of them."""
    return (
        f"warning: {count:,} of {of} are stored turned, by their EXIF data, and are "
        "read as they are stored; docs/faults.md shows how to turn the files"
    )
