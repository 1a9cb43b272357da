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
_JPEG, _PNG, _WEBP_EXTENDED = b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"VP8X"
#: Marks of a JPEG's segments for applications and comments, with which it begins.
_METADATA = frozenset((*range(0xE0, 0xF0), 0xFE))
_WEBP_EXIF = 0x08


def is_turned(encoded: bytes) -> bool:
    """Returns whether an image that `image_header.check` allows is stored turned."""
    if not _has_exif(encoded):
        return False
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            return image.getexif().get(_ORIENTATION, _UPRIGHT) in _TURNED
    except Exception:  # Broken EXIF data can raise anything in Pillow's parsers.
        return False


def _has_exif(encoded: bytes) -> bool:
    """Returns whether there are EXIF data before the pixels, without Pillow's costs."""
    if encoded.startswith(_PNG):
        return b"eXIf" in encoded[: encoded.find(b"IDAT")]
    if encoded[12:16] == _WEBP_EXTENDED:
        return bool(encoded[20] & _WEBP_EXIF) if len(encoded) > 20 else False
    position = 2 if encoded.startswith(_JPEG) else len(encoded)
    while encoded[position : position + 1] == b"\xff":
        mark, begin = encoded[position + 1 : position + 2], position + 4
        if not mark or mark[0] not in _METADATA:
            return False
        if encoded[begin : begin + 6] == b"Exif\0\0":
            return True
        position += 2 + int.from_bytes(encoded[position + 2 : begin])
    return False


def describe(count: int, of: str) -> str:
    """Returns a warning that some images are stored turned; `of` names all of them."""
    return (
        f"warning: {count:,} of {of} are stored turned, by their EXIF data, and are "
        "read as they are stored; docs/faults.md shows how to turn the files"
    )
