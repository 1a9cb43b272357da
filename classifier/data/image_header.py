"""What an image claims to be, before anything of it is unpacked.

A few kilobytes can unpack to gigabytes: whoever decodes images of others looks here
first.
"""

from __future__ import annotations

import io
import struct

from PIL import Image

#: What is looked into, in Pillow's words.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
# Pillow reads headers here, nothing more; the limit is the caller's.
Image.MAX_IMAGE_PIXELS = None

_GIF_FRAME, _GIF_EXTENSION = 0x2C, 0x21
#: Bytes of a GIF before its colors, of a frame's head, and of an extension's.
_GIF_HEAD, _GIF_FRAME_HEAD, _GIF_EXTENSION_HEAD = 13, 10, 2
_LZW_CODE_SIZE = 1


def claimed_pixels(encoded: bytes) -> int | None:
    """Returns the pixels that decoding would unpack, None where no header is found.

    Of an animated GIF those of all frames: TensorFlow unpacks every one of them, also
    for the first alone.
    """
    try:
        image = Image.open(io.BytesIO(encoded), formats=FORMATS)
    except Exception:  # Whatever a broken header does to Pillow's parsers.
        return None
    width, height = image.size
    if image.format == "GIF":
        return max(width * height, _gif_pixels(encoded))
    return width * height


def _gif_pixels(encoded: bytes) -> int:
    count = 0
    try:
        position = _GIF_HEAD + _gif_colors(encoded[10])
        while encoded[position] in (_GIF_FRAME, _GIF_EXTENSION):
            if encoded[position] == _GIF_FRAME:
                width, height = struct.unpack_from("<HH", encoded, position + 5)
                count += width * height
                position += _GIF_FRAME_HEAD + _gif_colors(encoded[position + 9])
                position += _LZW_CODE_SIZE
            else:
                position += _GIF_EXTENSION_HEAD
            while encoded[position]:  # Blocks of up to 255 bytes; an empty one is last.
                position += 1 + encoded[position]
            position += 1
    except (IndexError, struct.error):
        pass  # It ends too early.
    return count


def _gif_colors(flags: int) -> int:
    """Returns the bytes of a color table."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0
