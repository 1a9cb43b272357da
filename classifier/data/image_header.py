"""Which encoded images are decoded: decided by their headers, before decoding.

TensorFlow reads some images otherwise than Pillow, without a word: the indices of a
BMP's palette as gray, for example. And a few kilobytes can cost minutes or gigabytes to
decode. `check` refuses both; labeling, evaluation, prediction and training ask it about
every image. TensorFlow turns damaged GIFs and WebPs to noise: Pillow sees them first.
"""

from __future__ import annotations

import io
import random
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

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
#: Limit of a JPEG's segments and of the chunks before a PNG's pixels.
MAX_SEGMENTS = 1000
#: Limit of all chunks of a PNG. Encoders make one for every 8 kB.
MAX_CHUNKS = 100_000
#: Limit of the blocks before a GIF's pixels; Pillow's time goes by their square.
MAX_BLOCKS = 10_000
#: Limit of a GIF's frames, extensions and their blocks.
MAX_PARTS = 100_000
#: Bytes that may follow the pixels of a PNG in compressed form, where few become many.
MAX_REST = 2**26

_JPEG = b"\xff\xd8\xff"
#: Marks but those of restart and start.
_MARK = re.compile(rb"\xff[\x01-\xcf\xd9-\xfe]")
_FIRST_SEGMENT, _SOS, _EOI, _ADOBE = 0xC0, 0xDA, 0xD9, 0xEE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = (0xC2, 0xCA)
#: Frame headers of what the decoders know; the last two have arithmetic coding.
_DECODED_FRAMES = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)
#: Bytes of Adobe's segment; libjpeg takes a shorter one for another's.
_ADOBE_SIZE = 12

_PNG = b"\x89PNG\r\n\x1a\n"
#: Bytes that one byte of compressed data can become.
_MAX_INFLATION = 1032
#: Compressed data that becomes hundreds of times as much has fewer different bytes.
_FEW_VALUES = 9
#: Bytes that are inflated at a time.
_PIECE = 2**16

_GIF = b"GIF8"
_GIF_FRAME, _GIF_EXTENSION, _GIF_CONTROL = 0x2C, 0x21, 0xF9
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
    if encoded.startswith(_JPEG):
        return _check_jpeg(encoded, max_pixels)
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
    return check_format and check_format(image, encoded)


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


def _check_jpeg(encoded: bytes, max_pixels: int) -> Refusal | None:
    """Checks all of a JPEG, whose metadata can cost Pillow minutes."""
    jpeg = _read_jpeg(encoded)
    return (
        _limit("scans of a JPEG", jpeg.scans, MAX_SCANS)
        or _limit("segments of a JPEG", jpeg.segments, MAX_SEGMENTS)
        or _check_jpeg_frame(jpeg)
        or _limit("pixels", jpeg.pixels, max_pixels)
        or _limit(
            f"pixels in {jpeg.scans} scans of a JPEG",
            jpeg.pixels * jpeg.scans if jpeg.scans > ORDINARY_SCANS else 0,
            ORDINARY_SCANS * max_pixels,
        )
    )


class _Jpeg(NamedTuple):
    """What the segments of a JPEG say.

    Attributes:
        segments: Number of segments, as far as they were read.
        scans: Number of scans, as far as they were read.
        is_adobe: Whether there is Adobe's segment.
        frame: Mark of the frame header; 0 without one.
        bits: Bits of a value.
        pixels: Height by width.
        components: Number of colors.
    """

    segments: int
    scans: int
    is_adobe: bool
    frame: int
    bits: int
    pixels: int
    components: int


def _check_jpeg_frame(jpeg: _Jpeg) -> Refusal | None:
    if jpeg.frame and jpeg.frame not in _DECODED_FRAMES:
        kind = "lossless" if jpeg.frame & 3 == 3 else "hierarchical"
        expected = "expected a sequential or progressive one"
        return Refusal(UNDECODABLE, f"{kind} JPEG (SOF{jpeg.frame & 15}), {expected}")
    if not jpeg.pixels or not jpeg.scans:
        return Refusal(UNDECODABLE, "header of a JPEG image without pixels or a scan")
    if jpeg.bits != 8:
        return Refusal(UNDECODABLE, f"{jpeg.bits}-bit JPEG, expected 8 bits")
    if jpeg.components == 4 and not jpeg.is_adobe:
        reason = "CMYK JPEG without Adobe's marker: its inks may be inverted or not"
        return Refusal(UNDECODABLE, reason)
    return None


def _read_jpeg(encoded: bytes) -> _Jpeg:
    segments = scans = frame = bits = pixels = components = 0
    is_adobe = False
    for mark, begin, end in _jpeg_segments(encoded):
        segments += 1
        content = encoded[begin:end]
        if mark in _FRAMES and len(content) >= 6:
            bits, height, width, components = struct.unpack_from(">BHHB", content)
            frame, pixels = mark, height * width
        elif mark == _ADOBE and len(content) >= _ADOBE_SIZE:
            is_adobe = is_adobe or content.startswith(b"Adobe")
        elif mark == _SOS:
            scans += 1
            if frame not in _PROGRESSIVE and content[:1] == bytes([components]):
                break  # There is no other one.
        elif mark < _FIRST_SEGMENT and not scans:
            break  # Pillow reads no further.
        if segments > MAX_SEGMENTS or scans > MAX_SCANS:
            break
    return _Jpeg(segments, scans, is_adobe, frame, bits, pixels, components)


def _jpeg_segments(encoded: bytes) -> Iterator[tuple[int, int, int]]:
    """Yields mark, begin and end of the content of each segment until the end mark.

    What is in no segment is passed over as libjpeg does it, pixels included: there, 0
    or a restart mark follows a byte of 255.
    """
    end = 2
    while found := _MARK.search(encoded, end):
        end = found.end()
        mark, begin = encoded[end - 1], end + 2
        if mark == _EOI:
            return
        if mark >= _FIRST_SEGMENT:
            end += int.from_bytes(encoded[end:begin])
        yield mark, begin, end


def _check_png_chunks(encoded: bytes, max_pixels: int) -> Refusal | None:
    texts = others = chunks = 0
    pixels, position = [], len(_PNG)
    while position + 12 <= len(encoded) and chunks <= MAX_CHUNKS:
        length, kind = struct.unpack_from(">I4s", encoded, position)
        chunks += 1
        if kind == b"IDAT":
            pixels.append((position + 8, position + 8 + length))
        else:
            others += not pixels
            texts += kind in (b"zTXt", b"iTXt", b"iCCP")
        position += 12 + length
    return (
        _limit("chunks before the pixels of a PNG", others, MAX_SEGMENTS)
        or _limit("chunks of a PNG", chunks, MAX_CHUNKS)
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
    if len(encoded) * _MAX_INFLATION <= MAX_REST:
        return None
    width, height, bits = struct.unpack_from(">IIB", encoded, len(_PNG) + 8)
    rows = 2 * height * (1 + width * bits // 2)  # At most four channels and two passes.
    if width * height > max_pixels:
        return None  # It will not be decoded.
    if len(encoded) > rows or _has_few_values(encoded, pixels):
        return _limit_inflated(encoded, pixels, rows + MAX_REST)
    return None


def _has_few_values(encoded: bytes, pixels: Sequence[tuple[int, int]]) -> bool:
    """Returns whether any sample of the compressed data has few different values.

    Each step has one at random, so that no file can be made to evade them: runs that
    become B bytes are missed with a probability of about exp(-B/MAX_REST).
    """
    step = MAX_REST // _MAX_INFLATION
    samples, offset, chosen = 0, 0, int(step * random.random())
    for begin, end in pixels:
        while chosen < offset + end - begin:
            start = begin + chosen - offset
            if len(set(encoded[start : min(start + 32, end)])) < _FEW_VALUES:
                return True
            samples += 1
            chosen = int(step * (samples + random.random()))
        offset += end - begin
    return False


def _limit_inflated(
    encoded: bytes, pixels: Sequence[tuple[int, int]], limit: int
) -> Refusal | None:
    inflate, count = zlib.decompressobj(), 0
    for begin, end in pixels:
        for start in range(begin, end, _PIECE):
            rest = encoded[start : min(start + _PIECE, end)]
            while rest and count <= limit and not inflate.eof:
                try:
                    count += len(inflate.decompress(rest, 2**20))
                except zlib.error:
                    return None  # The decoder will find out, too.
                rest = inflate.unconsumed_tail
    return _limit("bytes in the pixels of a PNG", count, limit)


def _check_gif_parts(encoded: bytes, max_pixels: int) -> Refusal | None:
    """TensorFlow unpacks every frame, even to return the first."""
    first: tuple[int, ...] = ()
    pixels = controls = 0
    for count, (kind, frame) in enumerate(_gif_parts(encoded), 1):
        controls += kind == _GIF_CONTROL and not first
        if controls > 1:  # TensorFlow takes the first one's color, Pillow the last's.
            reason = "GIF with two graphic control extensions before its first frame"
            return Refusal(UNDECODABLE, reason)
        if frame:
            pixels += frame[2] * frame[3]
        refusal = (
            _limit("frames and blocks", count, MAX_PARTS if first else MAX_BLOCKS)
            or _limit("pixels in all frames", pixels, max_pixels)
            or (_check_gif_frame(frame, first, encoded) if frame else None)
        )
        if refusal:
            return refusal
        first = first or frame
    return None


def _check_gif_frame(
    frame: tuple[int, ...], first: tuple[int, ...], encoded: bytes
) -> Refusal | None:
    left, top, width, height = frame
    if first and (width > first[2] or height > first[3]):
        return Refusal(UNDECODABLE, "GIF of a frame larger than the first")
    screen = struct.unpack_from("<HH", encoded, 6)
    if not first and (left or top or width < screen[0] or height < screen[1]):
        return Refusal(UNDECODABLE, "GIF whose first frame does not fill its screen")
    return None


def _check_gif(image: ImageFile.ImageFile, encoded: bytes) -> Refusal | None:
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


def _gif_parts(encoded: bytes) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yields kind, left, top, width and height of frames, and what is in between.

    These are the labels of extensions, and 0 for each of an extension's blocks.
    """
    try:
        position = _GIF_HEAD + _gif_colors(encoded[10])
        while (kind := encoded[position]) in (_GIF_FRAME, _GIF_EXTENSION):
            if kind == _GIF_FRAME:
                yield kind, struct.unpack_from("<HHHH", encoded, position + 1)
                position += _GIF_FRAME_HEAD + _gif_colors(encoded[position + 9])
                position += _LZW_CODE_SIZE
            else:
                yield encoded[position + 1], ()
                position += _GIF_EXTENSION_HEAD
            # Blocks of up to 255 bytes; an empty one ends them.
            while size := encoded[position]:
                position += 1 + size
                if kind == _GIF_EXTENSION:
                    yield 0, ()
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


def _check_bmp(image: ImageFile.ImageFile, encoded: bytes) -> Refusal | None:
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


def _check_webp(image: ImageFile.ImageFile, encoded: bytes) -> Refusal | None:
    if encoded[12:16] == b"VP8X" and encoded[20] & _WEBP_ANIMATION:
        return Refusal(UNDECODABLE, "WebP Animation, expected a still image")
    if image.mode == "RGBA":
        return Refusal(UNDECODABLE, "WebP with alpha, expected one without")
    return _check_pixels(image)


#: By the start of the file: what is checked before Pillow reads it.
_SEGMENTED = {_PNG: _check_png_chunks, _GIF: _check_gif_parts}
#: By Pillow's name of the format.
_CHECKS: dict[str, Callable[[ImageFile.ImageFile, bytes], Refusal | None]] = {
    "GIF": _check_gif,
    "BMP": _check_bmp,
    "WEBP": _check_webp,
}
