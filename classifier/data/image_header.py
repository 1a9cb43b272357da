"""Size of an image according to its header, before anything is decoded.

A few kilobytes can decode to gigabytes: check untrusted images here first.
"""

from __future__ import annotations

import io
import struct

from PIL import Image

#: Formats that are read, by Pillow's names.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
# Pillow only reads headers here; callers have their own limit.
Image.MAX_IMAGE_PIXELS = None

#: Default limit of decoding, 300 MB of pixels: a few kilobytes can claim billions.
MAX_PIXELS = 100_000_000

_GIF_FRAME, _GIF_EXTENSION = 0x2C, 0x21
#: Bytes of a GIF before its color table, of a frame's head, and of an extension's.
_GIF_HEAD, _GIF_FRAME_HEAD, _GIF_EXTENSION_HEAD = 13, 10, 2
_LZW_CODE_SIZE = 1


def claimed_pixels(encoded: bytes) -> int | None:
    """Returns the number of pixels that decoding would produce, None without a header.

    For an animated GIF that includes all frames: TensorFlow decodes every frame, even
    to return the first.
    """
    try:
        image = Image.open(io.BytesIO(encoded), formats=FORMATS)
    except Exception:  # A broken header can raise anything in Pillow's parsers.
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
            # Blocks of up to 255 bytes; an empty one ends them.
            while size := encoded[position]:
                position += 1 + size
            position += 1
    except (IndexError, struct.error):
        pass  # The file is cut off.
    return count


def _gif_colors(flags: int) -> int:
    """Returns the size of the color table in bytes."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0
