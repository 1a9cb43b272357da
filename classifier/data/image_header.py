"""Which encoded images are decoded: decided by their headers, before decoding.

TensorFlow reads some images otherwise than Pillow, without a word: the indices of a
BMP's palette as gray, for example. And a few kilobytes can cost minutes or gigabytes to
decode. `check` refuses both; labeling, evaluation, prediction and training ask it about
every image.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile

from stage.status import EMPTY, TOO_LARGE, UNDECODABLE

#: Formats that are read, by Pillow's names.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
# Pillow only reads headers here; callers have their own limit.
Image.MAX_IMAGE_PIXELS = None

#: Default limit of decoding, 300 MB of pixels: a few kilobytes can claim billions.
MAX_PIXELS = 100_000_000
#: Limit of a JPEG's scans, which can have 14 bytes each and take time by the number of
#: pixels. Encoders make about 10 for a progressive image.
MAX_SCANS = 100
#: Scans for which the limit of pixels holds; with more, there may be fewer pixels.
ORDINARY_SCANS = 10
#: Limit of a PNG's compressed texts, each of which can become 8 MB.
MAX_TEXTS = 20

#: A JPEG's marker outside of a scan, except those without a segment.
_MARKER = re.compile(rb"\xff([^\xff\x00\x01\xd0-\xd8])")
_SOS, _EOI = 0xDA, 0xD9
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = (0xC2, 0xCA)
#: Frame headers of what the decoders know; the last two have arithmetic coding.
_DECODED_FRAMES = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)

_GIF_FRAME, _GIF_EXTENSION = 0x2C, 0x21
#: Bytes of a GIF before its color table, of a frame's head, and of an extension's.
_GIF_HEAD, _GIF_FRAME_HEAD, _GIF_EXTENSION_HEAD = 13, 10, 2
_LZW_CODE_SIZE = 1

#: Pixels of a BMP that TensorFlow reads, as Pillow calls them.
_BMP_PIXELS = ("BGR", "BGRX", "BGRA", "L")
_BMP_COMPRESSIONS = {0: "no compression", 1: "RLE8", 2: "RLE4", 3: "bit fields"}
_OS2_HEADER = 12

_WEBP_ANIMATION = 0x02


class Refusal(NamedTuple):
    """Why an image is not decoded.

    Attributes:
        status: `empty`, `undecodable` or `too_large`.
        reason: The reason in words.
    """

    status: str
    reason: str


def check(encoded: bytes, max_pixels: int = MAX_PIXELS) -> Refusal | None:
    """Returns why an image is not decoded; None if it is, as far as headers tell.

    What passes is either decoded to the pixels that Pillow gives, or found to be broken
    while it is decoded.
    """
    if not encoded:
        return Refusal(EMPTY, "no bytes")
    try:
        image = Image.open(io.BytesIO(encoded), formats=FORMATS)
    except Exception:  # A broken header can raise anything in Pillow's parsers.
        return Refusal(UNDECODABLE, _header_problem(encoded))
    pixels = image.width * image.height
    return _limit("pixels", pixels, max_pixels) or _CHECKS[image.format or ""](
        image, encoded, max_pixels
    )


def _limit(what: str, count: int, limit: int) -> Refusal | None:
    if count <= limit:
        return None
    return Refusal(TOO_LARGE, f"{count:,} {what}, expected at most {limit:,}")


def _header_problem(encoded: bytes) -> str:
    for name in FORMATS:
        open_header, accepts = Image.OPEN[name]
        if accepts is not None and accepts(encoded[:16]) is True:
            try:
                open_header(io.BytesIO(encoded), "")
            except Exception as error:
                problem = " ".join(str(error).split()) or type(error).__name__
                return f"header of a {name} image that cannot be read: {problem}"
    return f"no header of a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image"


def _check_jpeg(
    image: ImageFile.ImageFile, encoded: bytes, max_pixels: int
) -> Refusal | None:
    frame, scans = _jpeg_scans(encoded)
    if frame not in _DECODED_FRAMES:
        kind = "lossless" if frame & 3 == 3 else "hierarchical"
        reason = f"{kind} JPEG (SOF{frame & 15}), expected sequential or progressive"
        return Refusal(UNDECODABLE, reason)
    if image.mode == "CMYK" and "adobe" not in image.info:
        reason = "CMYK JPEG without Adobe's marker: its inks may be inverted or not"
        return Refusal(UNDECODABLE, reason)
    return _limit("scans of a JPEG", scans, MAX_SCANS) or _limit(
        f"pixels in {scans} scans of a JPEG",
        scans * image.width * image.height,
        ORDINARY_SCANS * max_pixels,
    )


def _jpeg_scans(encoded: bytes) -> tuple[int, int]:
    """Returns the marker of a JPEG's frame header, and the number of its scans."""
    frame = components = position = 0
    while found := _MARKER.search(encoded, position):
        marker, position = found[1][0], found.end()
        if marker == _EOI or position + 8 > len(encoded):
            break
        if marker in _FRAME_HEADERS:
            frame, components = marker, encoded[position + 7]
        elif marker == _SOS:
            is_only = encoded[position + 2] == components and frame not in _PROGRESSIVE
            return frame, 1 if is_only else _count_scans(encoded[position:])
        position += int.from_bytes(encoded[position : position + 2])
    return frame, 0


def _count_scans(encoded: bytes) -> int:
    """Returns the number of scans up to the end mark; starts within the first."""
    content = np.frombuffer(encoded, np.uint8)
    # Within a scan, only 0 and restart marks follow a byte of 255.
    markers = content[np.flatnonzero(content[:-1] == 0xFF) + 1]
    return 1 + markers.tobytes().partition(bytes([_EOI]))[0].count(bytes([_SOS]))


def _check_png(
    image: ImageFile.ImageFile, encoded: bytes, max_pixels: int
) -> Refusal | None:
    texts, position = 0, 8
    while position + 12 <= len(encoded):
        length, kind = struct.unpack_from(">I4s", encoded, position)
        texts += kind in (b"zTXt", b"iTXt", b"iCCP")
        position += 12 + length
    return _limit("compressed texts of a PNG", texts, MAX_TEXTS)


def _check_gif(
    image: ImageFile.ImageFile, encoded: bytes, max_pixels: int
) -> Refusal | None:
    """TensorFlow unpacks every frame, even to return the first."""
    frames = list(_gif_frames(encoded))
    pixels = sum(width * height for _, _, width, height in frames)
    if refusal := _limit(f"pixels in {len(frames)} frames", pixels, max_pixels):
        return refusal
    if frames and frames[0] != (0, 0, *image.size):
        return Refusal(UNDECODABLE, "GIF whose first frame does not fill its screen")
    for _, _, width, height in frames:
        if width > image.width or height > image.height:
            return Refusal(UNDECODABLE, "GIF of a frame larger than the first")
    if _shows_transparent_pixels(image):
        return Refusal(UNDECODABLE, "GIF with transparent pixels")
    return None


def _gif_frames(encoded: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yields left, top, width and height of each frame."""
    try:
        position = _GIF_HEAD + _gif_colors(encoded[10])
        while encoded[position] in (_GIF_FRAME, _GIF_EXTENSION):
            if encoded[position] == _GIF_FRAME:
                yield struct.unpack_from("<HHHH", encoded, position + 1)
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


def _gif_colors(flags: int) -> int:
    """Returns the size of the color table in bytes."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _shows_transparent_pixels(image: ImageFile.ImageFile) -> bool:
    """Returns whether Pillow shows the color of pixels that TensorFlow leaves black."""
    index = image.info.get("transparency")
    if index is None:
        return False
    try:
        is_shown = image.histogram()[index] > 0
        palette = image.getpalette()
    except Exception:  # A broken image; the decoder will find out, too.
        return False
    color = [index] if palette is None else palette[3 * index : 3 * index + 3]
    return is_shown and any(color)


def _check_bmp(
    image: ImageFile.ImageFile, encoded: bytes, max_pixels: int
) -> Refusal | None:
    codec, _, _, parts = image.tile[0]
    order, is_os2 = (parts or " ")[0], encoded[14] == _OS2_HEADER
    if codec == "raw" and order in _BMP_PIXELS and not is_os2:
        return None
    (bits,) = struct.unpack_from("<H", encoded, 24 if is_os2 else 28)
    kinds = [
        f"{bits} bits per pixel",
        "a palette" if bits <= 8 else f"the order {order}",
        *(["a header of OS/2"] if is_os2 else []),
        _BMP_COMPRESSIONS[image.info["compression"]],
    ]
    expected = "24 or 32 bits as BGR or BGRX, or 8 bits of gray, not compressed"
    return Refusal(UNDECODABLE, f"BMP of {', '.join(kinds)}; expected {expected}")


def _check_webp(
    image: ImageFile.ImageFile, encoded: bytes, max_pixels: int
) -> Refusal | None:
    if encoded[12:16] == b"VP8X" and encoded[20] & _WEBP_ANIMATION:
        return Refusal(UNDECODABLE, "WebP Animation, expected a still image")
    if image.mode == "RGBA":
        return Refusal(UNDECODABLE, "WebP with alpha, expected one without")
    return None


#: By Pillow's name of the format; MPO is a JPEG followed by others.
_CHECKS: dict[str, Callable[[ImageFile.ImageFile, bytes, int], Refusal | None]] = {
    "JPEG": _check_jpeg,
    "MPO": _check_jpeg,
    "PNG": _check_png,
    "GIF": _check_gif,
    "BMP": _check_bmp,
    "WEBP": _check_webp,
}
