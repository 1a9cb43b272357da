"""Which encoded images are decoded: decided by their headers, before decoding.

TensorFlow reads some images otherwise than Pillow, without a word: the indices of a
BMP's palette as gray, for example. And a few kilobytes can cost minutes or gigabytes to
decode. `check` refuses both; labeling, evaluation, prediction and training ask it about
every image. TensorFlow turns damaged GIFs and WebPs to noise: Pillow sees them first.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
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
#: Limit of what precedes the pixels, each of which is read in Python.
MAX_SEGMENTS = 1000
#: Bytes that may follow the pixels of a PNG in compressed form, where few become many.
MAX_REST = 2**26

#: Mark and length of a JPEG's segment.
_SEGMENT = struct.Struct(">HH")
#: Marks that have a segment.
_NEXT_MARK = re.compile(rb"\xff[\xc0-\xcf\xda-\xfe]")
_SOS, _FIRST_MARK, _LAST_MARK = 0xFFDA, 0xFFC0, 0xFFFE
#: Bytes between a JPEG's segments that count as one.
_PIECE = 64
_FRAMES = frozenset(range(0xFFC0, 0xFFD0)) - {0xFFC4, 0xFFC8, 0xFFCC}
_PROGRESSIVE = (0xFFC2, 0xFFCA)
#: Frame headers of what the decoders know; the last two have arithmetic coding.
_DECODED_FRAMES = (0xFFC0, 0xFFC1, 0xFFC2, 0xFFC9, 0xFFCA)

_PNG = b"\x89PNG\r\n\x1a\n"
#: Bytes that one byte of compressed data can become.
_MAX_INFLATION = 1032
#: Compressed data that becomes hundreds of times as much has fewer different bytes.
_FEW_VALUES = 9

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

    What passes is decoded to the pixels that Pillow gives. A damaged JPEG, PNG or BMP
    may be found to be broken only while it is decoded, and damage that decoders
    tolerate not at all.
    """
    if not encoded:
        return Refusal(EMPTY, "no bytes")
    for start, check_segments in _SEGMENTED.items():
        if encoded.startswith(start) and (
            refusal := check_segments(encoded, max_pixels)
        ):
            return refusal
    try:
        image = Image.open(io.BytesIO(encoded), formats=FORMATS)
    except Exception:  # A broken header can raise anything in Pillow's parsers.
        return Refusal(UNDECODABLE, _header_problem(encoded))
    pixels = image.width * image.height
    if refusal := _limit("pixels", pixels, max_pixels):
        return refusal
    check_format = _CHECKS.get(image.format or "")
    return check_format and check_format(image, encoded, max_pixels)


def _limit(what: str, count: int, limit: int) -> Refusal | None:
    if count <= limit:
        return None
    return Refusal(TOO_LARGE, f"{count:,} {what}, expected at most {limit:,}")


def _header_problem(encoded: bytes) -> str:
    Image.init()  # Otherwise a format may not be in the table yet.
    for name in FORMATS:
        open_header, accepts = Image.OPEN[name]
        if accepts is not None and accepts(encoded[:16]) is True:
            try:
                open_header(io.BytesIO(encoded), "")
            except Exception as error:
                problem = " ".join(str(error).split()) or type(error).__name__
                return f"header of a {name} image that cannot be read: {problem}"
    return f"no header of a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image"


def _check_jpeg_segments(encoded: bytes, max_pixels: int) -> Refusal | None:
    jpeg = _read_jpeg(encoded)
    if jpeg.frame and jpeg.frame not in _DECODED_FRAMES:
        kind = "lossless" if jpeg.frame & 3 == 3 else "hierarchical"
        expected = "expected a sequential or progressive one"
        return Refusal(UNDECODABLE, f"{kind} JPEG (SOF{jpeg.frame & 15}), {expected}")
    return (
        _limit("segments of a JPEG", jpeg.segments, MAX_SEGMENTS)
        or _limit("scans of a JPEG", jpeg.scans, MAX_SCANS)
        or _limit(
            f"pixels in {jpeg.scans} scans of a JPEG",
            jpeg.pixels * jpeg.scans if jpeg.scans > ORDINARY_SCANS else 0,
            ORDINARY_SCANS * max_pixels,
        )
    )


class _Jpeg(NamedTuple):
    """What the segments of a JPEG say.

    Attributes:
        frame: Marker of the frame header; 0 without one.
        pixels: Height by width.
        scans: Number of scans.
        segments: Number of segments before the first scan, bytes in between included.
    """

    frame: int
    pixels: int
    scans: int
    segments: int


def _read_jpeg(encoded: bytes) -> _Jpeg:
    frame = pixels = components = segments = 0
    position = 2
    while segments <= MAX_SEGMENTS and position + 12 < len(encoded):
        mark, length = _SEGMENT.unpack_from(encoded, position)
        segments += 1
        if not _FIRST_MARK <= mark <= _LAST_MARK or 0xFFD0 <= mark <= 0xFFD9:
            found = _NEXT_MARK.search(encoded, position)
            if found is None:
                break
            segments += (found.start() - position) // _PIECE
            position = found.start()
        elif mark == _SOS:
            is_only = frame not in _PROGRESSIVE and encoded[position + 4] == components
            scans = 1 if is_only else _count_scans(encoded, position)
            return _Jpeg(frame, pixels, scans, segments)
        else:
            if mark in _FRAMES:
                head = struct.unpack_from(">HHB", encoded, position + 5)
                frame, pixels, components = mark, head[0] * head[1], head[2]
            position += 2 + length
    return _Jpeg(frame, pixels, 0, segments)


def _count_scans(encoded: bytes, start: int) -> int:
    """Returns the number of scans before the end mark; of few at least the number."""
    pairs = (
        np.frombuffer(encoded, "<u2", (len(encoded) - first) // 2, first)
        for first in (start, start + 1)
    )
    count = sum(int(np.count_nonzero(of_pairs == 0xDAFF)) for of_pairs in pairs)
    if count <= ORDINARY_SCANS:
        return count
    content = np.frombuffer(encoded, np.uint8)[start:]
    # Within a scan, only 0 and restart marks follow a byte of 255.
    follows = content[1:][content[:-1] == 0xFF]
    return follows.tobytes().partition(b"\xd9")[0].count(b"\xda")


def _check_png_chunks(encoded: bytes, max_pixels: int) -> Refusal | None:
    texts = others = 0
    pixels, position = [], len(_PNG)
    while position + 12 <= len(encoded):
        length, kind = struct.unpack_from(">I4s", encoded, position)
        if kind == b"IDAT":
            pixels.append((position + 8, position + 8 + length))
        else:
            others += not pixels
            texts += kind in (b"zTXt", b"iTXt", b"iCCP")
        position += 12 + length
    return (
        _limit("chunks of a PNG", others, MAX_SEGMENTS)
        or _limit("compressed texts of a PNG", texts, MAX_TEXTS)
        or _check_png_rest(encoded, pixels, max_pixels)
    )


def _check_png_rest(
    encoded: bytes, pixels: Sequence[tuple[int, int]], max_pixels: int
) -> Refusal | None:
    """Inflates what looks as if few bytes became very many.

    The decoder inflates everything, also what follows the pixels. `pixels` are the
    begins and ends of the compressed data.
    """
    step = MAX_REST // _MAX_INFLATION
    if not any(
        len(set(encoded[start : start + 32])) < _FEW_VALUES
        for start in range(step, len(encoded), step)
    ):
        return None
    width, height, bits = struct.unpack_from(">IIB", encoded, len(_PNG) + 8)
    if width * height > max_pixels:
        return None  # It will not be decoded.
    rows = 2 * height * (1 + width * bits // 2)  # At most four channels and two passes.
    inflate, count = zlib.decompressobj(), 0
    for begin, end in pixels:
        rest = encoded[begin:end]
        while rest and count <= rows + MAX_REST:
            try:
                count += len(inflate.decompress(rest, 2**20))
            except zlib.error:
                return None  # The decoder will find out, too.
            rest = inflate.unconsumed_tail
    return _limit("bytes in the pixels of a PNG", count, rows + MAX_REST)


def _check_jpeg(
    image: ImageFile.ImageFile, encoded: bytes, max_pixels: int
) -> Refusal | None:
    # A marker that is too short for its last byte is none for libjpeg.
    if image.mode == "CMYK" and "adobe_transform" not in image.info:
        reason = "CMYK JPEG without Adobe's marker: its inks may be inverted or not"
        return Refusal(UNDECODABLE, reason)
    return None


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
    if refusal := _check_pixels(image):
        return refusal
    if _shows_transparent_pixels(image):
        return Refusal(UNDECODABLE, "GIF with transparent pixels")
    return None


def _check_pixels(image: ImageFile.ImageFile) -> Refusal | None:
    """Decodes an image of a format whose damage TensorFlow does not see."""
    try:
        image.load()
    except Exception as error:  # Pillow's decoders raise many kinds.
        return Refusal(UNDECODABLE, f"damaged {image.format}: {error}")
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
    is_shown = image.histogram()[index] > 0
    palette = image.getpalette()
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
    return _check_pixels(image)


#: By the start of the file: what is checked before Pillow reads the segments.
_SEGMENTED = {b"\xff\xd8": _check_jpeg_segments, _PNG: _check_png_chunks}
#: By Pillow's name of the format; MPO is a JPEG followed by others.
_CHECKS: dict[str, Callable[[ImageFile.ImageFile, bytes, int], Refusal | None]] = {
    "JPEG": _check_jpeg,
    "MPO": _check_jpeg,
    "GIF": _check_gif,
    "BMP": _check_bmp,
    "WEBP": _check_webp,
}
