"""Odd and broken images, built byte by byte where no library writes them."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from tests.faults import forms
from tests.images import encode, random_pixels

HEIGHT, WIDTH = 40, 48
PIXELS = random_pixels(np.random.default_rng(0), HEIGHT, WIDTH)
PICTURE = Image.fromarray(PIXELS)
GRAY = PICTURE.convert("L")
#: Of a job that labels these; some of them hold more.
MAX_PIXELS = 100_000


def save(image, kind, **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def jpeg(image=PICTURE, **options):
    """Returns a JPEG of a quality at which decoders differ little."""
    return save(image, "JPEG", quality=95, subsampling=0, **options)


def animated(kind, **options):
    inverted = Image.fromarray(255 - PIXELS)
    return save(PICTURE, kind, save_all=True, append_images=[inverted], **options)


def png(pixels, *, bits, color, size=None, more=b""):
    """Writes a PNG file chunk by chunk.

    Args:
        pixels: [H,W] or [H,W,C].
        bits: Bits per channel.
        color: PNG's number for the kind of color.
        size: Width and height that the header claims, if not the pixels'.
        more: A chunk before the pixels.
    """
    height, width = pixels.shape[:2]
    header = struct.pack(">IIBBBBB", *(size or (width, height)), bits, color, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            more,
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        ]
    )


def chunk(name, content):
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def flip(content, position):
    """Returns the content with one byte changed."""
    return (
        content[:position] + bytes([content[position] ^ 255]) + content[position + 1 :]
    )


def claiming_jpeg(width, height):
    content = jpeg()
    size = content.index(b"\xff\xc0") + 5
    claimed = struct.pack(">HH", height, width)
    return content[:size] + claimed + content[size + 4 :]


def gif_of(*sizes):
    """Returns a GIF whose frames have these sizes, the screen that of the first."""
    files = [save(Image.new("P", size), "GIF") for size in sizes]
    starts = [
        content.index(b"," + struct.pack("<HHHH", 0, 0, *size))
        for content, size in zip(files, sizes, strict=True)
    ]
    frames = [content[start:-1] for content, start in zip(files, starts, strict=True)]
    return files[0][: starts[0]] + b"".join(frames) + b";"


def exif(orientation):
    found = Image.Exif()
    found[0x0112] = orientation
    return found


def sixteen_bits(pixels):
    """Returns big-endian pixels whose upper byte is that of the pixels given."""
    return (pixels.astype(np.uint16) << 8 | 0x55).astype(">u2")


LARGE = np.zeros((400, 300), np.uint8)
BROKEN_TEXT = flip(chunk(b"tEXt", b"Title\0a cat"), 12)

BROKEN = {
    "image of zero bytes": b"",
    "text file with the extension of an image": b"not an image at all, but words",
    "error page of a web server": b"<!DOCTYPE html><html>404 Not Found</html>",
    "truncated JPEG": jpeg()[:-900],
    "JPEG without its end mark": jpeg()[:-2],
    "JPEG of two bytes": jpeg()[:2],
    "truncated PNG": encode(PIXELS)[:-900],
    "PNG with a wrong checksum": flip(encode(PIXELS), 90),
    "PNG of zero width": png(LARGE, bits=8, color=0, size=(0, 40)),
    "truncated GIF": save(PICTURE, "GIF")[:-300],
    "GIF with a damaged byte": flip(save(PICTURE, "GIF"), 2418),
    "truncated BMP": save(PICTURE, "BMP")[:-300],
    "truncated WebP": save(PICTURE, "WEBP")[:-300],
    "WebP with a damaged byte": flip(forms.READ["WebP: lossy, metadata"], 441),
    "animated WebP": animated("WEBP", lossless=True),
    "TIFF": save(PICTURE, "TIFF"),
    "AVIF": save(PICTURE, "AVIF"),
    "JPEG 2000": save(PICTURE, "JPEG2000"),
    "JPEG XL": b"\xff\x0a" + bytes(40),
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40),
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    "image with more pixels than the limit": png(LARGE, bits=8, color=0),
    "PNG header that claims billions of pixels": png(
        LARGE, bits=8, color=0, size=(2**31 - 1, 2**31 - 1)
    ),
    "JPEG header that claims billions of pixels": claiming_jpeg(65500, 65500),
    "GIF with many frames": gif_of(*[(WIDTH, HEIGHT)] * 60),
    "GIF with a small and a huge frame": gif_of((1, 1), (400, 300)),
    "GIF with a hundred thousand frames of one pixel": forms.gif(
        forms.gif_frame(forms.GRAY[:1, :1]) * 100_001, screen=(1, 1)
    ),
    "GIF with a comment of thousands of blocks": forms.gif(
        b"\x21\xfe" + b"\1a" * 20_000 + b"\0", forms.gif_frame(forms.GRAY)
    ),
    "PNG above the limit with a corrupt text chunk": png(
        LARGE, bits=8, color=0, more=BROKEN_TEXT
    ),
    "BMP with a palette": forms.REFUSED["BMP: 8 bits and a palette"][0],
    "BMP with a gray palette": forms.REFUSED["BMP: 8 bits of inverted gray"][0],
    "4-bit BMP with a palette": forms.REFUSED["BMP: 4 bits and a palette"][0],
    "16-bit BMP": forms.REFUSED["BMP: 16 bits, bit fields"][0],
    "BMP with another channel order": forms.REFUSED["BMP: 32 bits, alpha first"][0],
    "compressed BMP": forms.REFUSED["BMP: run lengths"][0],
    "BMP with an OS2 header": forms.REFUSED["BMP: 24 bits, header of OS/2"][0],
    "BMP with trailing bytes": save(PICTURE, "BMP") + b"and so on",
    "GIF with transparent pixels": forms.REFUSED["GIF: transparent pixels"][0],
    "GIF whose first frame does not fill the canvas": forms.REFUSED["GIF: small frame"][
        0
    ],
    "GIF with a frame larger than the first": forms.REFUSED[
        "GIF: animation of a large second frame"
    ][0],
    "GIF with two graphic control extensions before its first frame": forms.REFUSED[
        "GIF: two graphic control extensions"
    ][0],
    "CMYK JPEG without an Adobe marker": forms.REFUSED[
        "JPEG: CMYK without Adobe's mark"
    ][0],
    "lossless JPEG": forms.REFUSED["JPEG: lossless"][0],
    "12-bit JPEG": forms.REFUSED["JPEG: 12 bits"][0],
    "WebP with alpha": forms.REFUSED["WebP: alpha, lossy"][0],
    "animated WebP with a single frame": forms.REFUSED["WebP: animation of one image"][
        0
    ],
    "progressive JPEG with hundreds of scans": forms.more_scans(500),
    "JPEG with hundreds of scans behind an end mark in a comment": (
        forms.scans_behind_end_mark(500)
    ),
    "sequential JPEG with hundreds of scans": forms.separate_scans(500),
    "large JPEG with many scans": forms.more_scans(60, Image.new("RGB", (300, 300))),
    "PNG whose image data is 128 MB too long": forms.png_with_rest(2**27),
    "PNG with thousands of chunks before its pixels": forms.png(
        forms.PIXELS, 8, 2, before=forms.chunk(b"abCd", b"") * 5000
    ),
    "JPEG with thousands of segments before its pixels": jpeg()[:2]
    + b"\xff\xfe\0\2" * 5000
    + jpeg()[2:],
    "PNG with many compressed texts": forms.png(
        forms.PIXELS, 8, 2, after=forms.texts(50, 7_000_000)
    ),
}

#: With the pixels that they show.
ODD = {
    "progressive JPEG": (jpeg(progressive=True), PIXELS),
    "grayscale JPEG": (jpeg(GRAY), GRAY),
    "CMYK JPEG": (jpeg(PICTURE.convert("CMYK")), PIXELS),
    "JPEG with trailing bytes": (jpeg() + b"and so on" * 99, PIXELS),
    "JPEG with the extension of PNG": (jpeg(), PIXELS),
    "EXIF rotation": (jpeg(exif=exif(6)), PIXELS),
    "16-bit RGB PNG": (png(sixteen_bits(PIXELS), bits=16, color=2), PIXELS),
    "16-bit gray PNG": (
        png(sixteen_bits(np.asarray(GRAY)), bits=16, color=0),
        GRAY,
    ),
    "1-bit PNG": (save(PICTURE.convert("1"), "PNG"), PICTURE.convert("1")),
    "PNG with a palette": (save(PICTURE.quantize(16), "PNG"), PICTURE.quantize(16)),
    "PNG with a palette and alpha": (
        save(PICTURE.quantize(16), "PNG", transparency=bytes(range(0, 256, 16))),
        PICTURE.quantize(16),
    ),
    "PNG with alpha": (
        encode(np.dstack([PIXELS, np.arange(48) * np.ones((40, 1))]).astype(np.uint8)),
        PIXELS,
    ),
    "BMP": (save(PICTURE, "BMP"), PIXELS),
    "animated GIF": (animated("GIF"), PICTURE.quantize(256)),
    "32-bit BMP": (forms.READ["BMP: 32 bits"], forms.PIXELS),
    "top-down BMP": (forms.READ["BMP: 24 bits, top down"], forms.PIXELS),
    "gray BMP": (forms.READ["BMP: 8 bits of gray"], forms.GRAY),
    "interlaced PNG": (forms.READ["PNG: 24 bits, interlaced"], forms.PIXELS),
    "animated PNG": (forms.READ["PNG: animation"], forms.PIXELS),
    "gray PNG with alpha": (forms.READ["PNG: gray and alpha"], forms.GRAY),
    "interlaced GIF": (forms.READ["GIF: interlaced"], forms.INDEXED[8]),
    "JPEG stored as RGB": (forms.READ["JPEG: RGB"], forms.PIXELS),
    "YCCK JPEG": (forms.READ["JPEG: YCCK"], forms.YCCK_SHOWN),
    "JPEG file with several images": (forms.READ["JPEG: several images"], forms.PIXELS),
    "WebP": (save(PICTURE, "WEBP", lossless=True), PIXELS),
    "image of one pixel": (encode(PIXELS[:1, :1]), PIXELS[:1, :1]),
    "image a thousand times as wide as high": (
        encode(np.tile(PIXELS[:1], (1, 21, 1))),
        np.tile(PIXELS[:1], (1, 21, 1)),
    ),
}


def plain(image):
    """Returns what an image shows as a PNG of three channels of eight bits."""
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    return save(image.convert("RGB"), "PNG")
