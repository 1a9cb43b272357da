"""The forms that an image file can have: what is read, and what is refused by name."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from tests.images import random_pixels

HEIGHT, WIDTH = 40, 47  # No row of a BMP ends at a multiple of four bytes.
PIXELS = random_pixels(np.random.default_rng(0), HEIGHT, WIDTH)
PICTURE = Image.fromarray(PIXELS)
GRAY = np.asarray(PICTURE.convert("L"))
ALPHA = np.tile(np.arange(WIDTH, dtype=np.uint8) * 5, (HEIGHT, 1))
INVERTED = Image.fromarray(255 - PIXELS)
#: The picture with as many colors as an index of so many bits can have.
INDEXED = {bits: PICTURE.quantize(2**bits, dither=0) for bits in (1, 2, 4, 8)}
_GRAYS = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(-1, 3)


def save(kind, image=PICTURE, **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def indices(bits):
    return np.asarray(INDEXED[bits]).astype(np.uint8)


def palette(bits):
    """Returns [2**bits,3] colors."""
    colors = np.array(INDEXED[bits].getpalette(), np.uint8).reshape(-1, 3)[: 2**bits]
    return np.pad(colors, [(0, 2**bits - len(colors)), (0, 0)])


def pack(row, bits):
    """Returns a row of indices, the first in the uppermost bits of a byte."""
    planes = np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, -bits:]
    return np.packbits(planes).tobytes()


def sixteen(pixels):
    return (pixels.astype(np.uint16) << 8 | 0x55).astype(">u2")


# BMP


def bmp(
    pixels, bits=24, *, header=40, compression=0, colors=None, masks=(), top_down=False
):
    """Writes a BMP.

    Args:
        pixels: [H,W] indices, [H,W,C] bytes, or the bytes of the file.
        bits: Bits of a pixel.
        header: Size of the header; 12 is that of OS/2.
        compression: BMP's number for it.
        colors: Palette [N,3], red first.
        masks: Bits of red, green, blue and perhaps alpha.
        top_down: Whether the first row comes first.
    """
    if not isinstance(pixels, bytes):
        rows = [
            row.tobytes() if bits >= 8 else pack(row, bits)
            for row in pixels[:: 1 if top_down else -1]
        ]
        pixels = b"".join(row + bytes(-len(row) % 4) for row in rows)
    height = -HEIGHT if top_down else HEIGHT
    bits_of_masks = struct.pack(f"<{len(masks)}I", *masks)
    if header == 12:
        head = struct.pack("<IHHHH", 12, WIDTH, height, 1, bits)
    else:
        number = 0 if colors is None else len(colors)
        sizes = (header, WIDTH, height, 1, bits, compression, len(pixels), 1, 1)
        head = struct.pack("<IiiHHIIiiII", *sizes, number, 0)
        if header > 40:
            head, bits_of_masks = (head + bits_of_masks).ljust(header, b"\0"), b""
    table = b""
    if colors is not None:
        padding = [(0, 0), (0, 0 if header == 12 else 1)]
        table = np.pad(np.asarray(colors, np.uint8)[:, ::-1], padding).tobytes()
    head += bits_of_masks + table
    start = 14 + len(head)
    return struct.pack("<2sIII", b"BM", start + len(pixels), 0, start) + head + pixels


def run_lengths(pixels):
    rows = (b"".join(bytes([1, index]) for index in row) for row in pixels[::-1])
    return b"\0\0".join(rows) + b"\0\0\0\1"


BGR = PIXELS[:, :, ::-1]
BGRA, RGBA = np.dstack([BGR, ALPHA]), np.dstack([PIXELS, ALPHA])
_RED, _GREEN, _BLUE = (PIXELS[:, :, channel].astype("<u2") for channel in range(3))
BGR_MASKS, RGB_MASKS = (0xFF0000, 0xFF00, 0xFF), (0xFF, 0xFF00, 0xFF0000)

BMP_READ = {
    "24 bits": bmp(BGR),
    "24 bits, top down": bmp(BGR, top_down=True),
    "24 bits, header of 108 bytes": bmp(BGR, header=108),
    "24 bits, header of 124 bytes": bmp(BGR, header=124),
    "24 bits, second header of OS/2": bmp(BGR, header=64),
    "24 bits and a palette": bmp(BGR, colors=palette(8)),
    "32 bits": bmp(BGRA, 32),
    "32 bits, top down": bmp(BGRA, 32, top_down=True),
    "32 bits, bit fields of BGR": bmp(BGRA, 32, compression=3, masks=BGR_MASKS),
    "32 bits, alpha": bmp(
        BGRA, 32, compression=3, masks=(*BGR_MASKS, 0xFF000000), header=108
    ),
    "8 bits of gray": bmp(GRAY, 8, colors=_GRAYS),
}
BMP_REFUSED = {
    **{
        f"{bits} bits and a palette{name}": (
            bmp(indices(bits), bits, colors=palette(bits), **more),
            ("BMP", f"{bits} bits", "palette"),
        )
        for bits in (1, 4, 8)
        for name, more in {
            "": {},
            ", top down": {"top_down": True},
            ", header of 124 bytes": {"header": 124},
            ", header of OS/2": {"header": 12},
        }.items()
    },
    "8 bits of inverted gray": (bmp(GRAY, 8, colors=255 - _GRAYS), ("palette",)),
    "black and white": (save("BMP", PICTURE.convert("1")), ("1 bits",)),
    "24 bits, header of OS/2": (bmp(BGR, header=12), ("OS/2",)),
    "15 bits": (bmp(_RED >> 3 << 10 | _GREEN >> 3 << 5 | _BLUE >> 3, 16), ("16 bits",)),
    "16 bits, bit fields": (
        bmp(
            _RED >> 3 << 11 | _GREEN >> 2 << 5 | _BLUE >> 3,
            16,
            compression=3,
            masks=(0xF800, 0x7E0, 0x1F),
        ),
        ("16 bits",),
    ),
    "32 bits, bit fields of RGB": (
        bmp(RGBA, 32, compression=3, masks=RGB_MASKS),
        ("BMP", "bitfields"),
    ),
    "32 bits, bit fields of RGB and alpha": (
        bmp(RGBA, 32, compression=3, masks=(*RGB_MASKS, 0xFF000000), header=108),
        ("BMP", "RGBA"),
    ),
    "32 bits, alpha first": (
        bmp(
            np.dstack([ALPHA, BGR]),
            32,
            compression=3,
            masks=(0xFF000000, 0xFF0000, 0xFF00, 0),
            header=108,
        ),
        ("BMP", "XBGR"),
    ),
    "run lengths": (
        bmp(run_lengths(indices(8)), 8, compression=1, colors=palette(8)),
        ("RLE8",),
    ),
    "run lengths of gray": (
        bmp(run_lengths(GRAY), 8, compression=1, colors=_GRAYS),
        ("RLE8",),
    ),
    "a JPEG inside": (bmp(save("JPEG"), 0, compression=4), ("BMP", "depth (0)")),
}

# PNG

_PASSES = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2)]
_PASSES += [(0, 1, 2, 2), (1, 0, 2, 1)]


def chunk(kind, content):
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png(pixels, bits, color, *, interlaced=False, before=b"", after=b""):
    """Writes a PNG of pixels [H,W] or [H,W,C]; `color` is PNG's number for the kind."""

    def lines(part):
        return b"".join(
            b"\0" + (row.tobytes() if bits >= 8 else pack(row, bits)) for row in part
        )

    parts = [pixels]
    if interlaced:
        parts = [pixels[y::rows, x::columns] for y, x, rows, columns in _PASSES]
    sizes = (pixels.shape[1], pixels.shape[0], bits, color, 0, 0, int(interlaced))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", *sizes))
        + before
        + chunk(b"IDAT", zlib.compress(b"".join(map(lines, parts))))
        + after
        + chunk(b"IEND", b"")
    )


def pngs(interlaced):
    """Returns each kind of pixels that PNG knows, and what makes some transparent."""
    gray_alpha = np.dstack([GRAY, ALPHA])
    kinds = {
        **{f"{bits} bits of gray": (GRAY >> 8 - bits, bits, 0) for bits in (1, 2, 4)},
        "8 bits of gray": (GRAY, 8, 0),
        "16 bits of gray": (sixteen(GRAY), 16, 0),
        "24 bits": (PIXELS, 8, 2),
        "48 bits": (sixteen(PIXELS), 16, 2),
        "gray and alpha": (gray_alpha, 8, 4),
        "16 bits of gray and of alpha": (sixteen(gray_alpha), 16, 4),
        "color and alpha": (RGBA, 8, 6),
        "16 bits of color and of alpha": (sixteen(RGBA), 16, 6),
    }
    made = {name: png(*kind, interlaced=interlaced) for name, kind in kinds.items()}
    transparent = {
        "8 bits of gray": struct.pack(">H", GRAY[5, 5]),
        "1 bits of gray": struct.pack(">H", 1),
        "24 bits": struct.pack(">HHH", *PIXELS[5, 5]),
    }
    for name, color in transparent.items():
        made[f"{name}, one transparent"] = png(
            *kinds[name], interlaced=interlaced, before=chunk(b"tRNS", color)
        )
    for bits in (1, 2, 4, 8):
        colors = chunk(b"PLTE", palette(bits).tobytes())
        alpha = chunk(b"tRNS", bytes(range(2**bits // 2)))
        for name, before in {"": colors, " and alpha": colors + alpha}.items():
            made[f"palette of {bits} bits{name}"] = png(
                indices(bits), bits, 3, interlaced=interlaced, before=before
            )
    return made


PNG_READ = {
    **pngs(interlaced=False),
    **{f"{name}, interlaced": content for name, content in pngs(True).items()},
    "gamma": png(PIXELS, 8, 2, before=chunk(b"gAMA", struct.pack(">I", 100000))),
    "background": png(
        RGBA, 8, 6, before=chunk(b"bKGD", struct.pack(">HHH", 255, 0, 0))
    ),
    "color profile": save("PNG", icc_profile=b"profile" * 99),
    "animation": save("PNG", save_all=True, append_images=[INVERTED]),
    "animation without its default image": save(
        "PNG", save_all=True, default_image=True, append_images=[INVERTED]
    ),
}


def png_with_rest(number, end=b""):
    """Returns a PNG of so many zeros behind its pixels, compressed with them."""
    rows = b"".join(b"\0" + row.tobytes() for row in PIXELS)
    return png_of(WIDTH, HEIGHT, zlib.compress(rows + bytes(number), 9) + end)


def png_of(width, height, data, pieces=1):
    """Returns a PNG of eight bits per color whose data is in so many chunks."""
    size = -(-len(data) // pieces)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + b"".join(
            chunk(b"IDAT", data[start : start + size])
            for start in range(0, len(data), size)
        )
        + chunk(b"IEND", b"")
    )


def texts(number, size, kind=b"zTXt"):
    """Returns so many chunks, each of which becomes `size` bytes."""
    return number * chunk(kind, b"Comment\0\0" + zlib.compress(bytes(size), 9))


# GIF


def gif(*frames, colors=None, screen=(WIDTH, HEIGHT), background=0):
    """Writes a GIF of `gif_frame`s; `colors` is the palette of those without one."""
    head = b"GIF89a" + struct.pack(
        "<HHB", *screen, 0xF7 if colors is not None else 0x70
    )
    table = b"" if colors is None else colors.tobytes()
    return head + bytes([background, 0]) + table + b"".join(frames) + b";"


def gif_frame(
    pixels, *, at=(0, 0), colors=None, interlaced=False, transparent=None, dispose=0
):
    height, width = pixels.shape
    if interlaced:
        starts = [(0, 8), (4, 8), (2, 4), (1, 2)]
        pixels = np.concatenate([pixels[start::step] for start, step in starts])
    # Codes of nine bits; emptying the table keeps them from becoming longer.
    codes = np.insert(pixels.ravel().astype(int), range(0, pixels.size, 200), 256)
    bits = np.append(codes, 257)[:, None] >> np.arange(9) & 1
    data = np.packbits(bits.ravel(), bitorder="little").tobytes()
    blocks = [data[start : start + 255] for start in range(0, len(data), 255)]
    has_control = transparent is not None or dispose
    control = gif_control(transparent, dispose) if has_control else b""
    flags = (0x87 if colors is not None else 0) | (0x40 if interlaced else 0)
    head = b"," + struct.pack("<HHHHB", *at, width, height, flags)
    table = b"" if colors is None else colors.tobytes()
    body = b"".join(bytes([len(block)]) + block for block in blocks)
    return control + head + table + b"\x08" + body + b"\0"


def gif_control(transparent, dispose=0):
    """Returns a graphic control extension; `transparent` is an index or None."""
    flags = dispose << 2 | (transparent is not None)
    return b"\x21\xf9\x04" + bytes([flags, 0, 0, transparent or 0, 0])


_INDICES, _COLORS = indices(8), palette(8)
_WHOLE, _PART = gif_frame(_INDICES), gif_frame(_INDICES[:20, :20], at=(5, 7))
_USED = int(_INDICES[5, 5])
_ONE_TRANSPARENT = gif_frame(_INDICES, transparent=_USED)
_UNUSED = int(np.setdiff1d(np.arange(256), _INDICES[:, :9])[0])

GIF_READ = {
    "palette": gif(_WHOLE, colors=_COLORS),
    "interlaced": gif(gif_frame(_INDICES, interlaced=True), colors=_COLORS),
    "palette of the frame": gif(gif_frame(_INDICES, colors=_COLORS)),
    "two palettes": gif(gif_frame(_INDICES, colors=_COLORS), colors=255 - _COLORS),
    "animation": save("GIF", save_all=True, append_images=[INVERTED]),
    "animation of a small second frame": gif(_WHOLE, _PART, colors=_COLORS),
    "transparent color that is not used": gif(
        gif_frame(_INDICES[:, :9], transparent=_UNUSED), colors=_COLORS, screen=(9, 40)
    ),
    "transparent black": save("GIF", Image.fromarray(RGBA)),
    "screen smaller than the frame": gif(_WHOLE, colors=_COLORS, screen=(9, 9)),
    "gray": save("GIF", PICTURE.convert("L")),
}
GIF_REFUSED = {
    "small frame": (gif(_PART, colors=_COLORS), ("GIF", "first frame")),
    "small frame at the corner": (
        gif(gif_frame(_INDICES[:20, :20]), colors=_COLORS),
        ("GIF", "first frame"),
    ),
    "frame beyond the screen": (
        gif(gif_frame(_INDICES, at=(9, 9)), colors=_COLORS),
        ("GIF", "first frame"),
    ),
    "animation of a small first frame": (
        gif(_PART, _WHOLE, colors=_COLORS),
        ("GIF", "first frame"),
    ),
    "animation of a large second frame": (
        gif(gif_frame(_INDICES[:, :9]), _WHOLE, colors=_COLORS, screen=(9, 40)),
        ("GIF", "frame"),
    ),
    "transparent pixels": (gif(_ONE_TRANSPARENT, colors=_COLORS), ("transparent",)),
    "two graphic control extensions": (
        gif(
            gif_control(transparent=_USED),
            gif_frame(_INDICES[:, :9], transparent=_UNUSED),
            colors=_COLORS,
            screen=(9, 40),
        ),
        ("GIF", "two graphic control extensions"),
    ),
    "transparent pixels, animated": (
        gif(_ONE_TRANSPARENT, _WHOLE, colors=_COLORS),
        ("transparent",),
    ),
}

# JPEG


def jpeg(image=PICTURE, **options):
    return save("JPEG", image, quality=95, **options)


def adobe(transform):
    return b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([transform])


def with_frame_header(marker):
    """Returns a JPEG that claims another coding of its frame."""
    content = jpeg()
    at = content.index(b"\xff\xc0")
    return content[:at] + bytes([255, marker]) + content[at + 2 :]


def more_scans(number, image=PICTURE):
    """Returns a progressive JPEG whose last scan is repeated."""
    content = jpeg(image, progressive=True)
    scan = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + number * scan + content[-2:]


def scans_behind_end_mark(number):
    """Returns `more_scans` with a comment that holds an end mark before the last."""
    content = more_scans(number)
    last = content.rindex(b"\xff\xda")
    first = content.index(content[last:-2])
    return content[:first] + b"\xff\xfe\0\4\xff\xd9" + content[first:]


def separate_scans(number):
    """Returns a sequential JPEG of a scan for each color, the last one repeated."""
    # A gray image's scan stands for each color: the tables are equal.
    gray = jpeg(PICTURE.convert("L"))
    frame, scan = gray.index(b"\xff\xc0"), gray.index(b"\xff\xda")
    size = struct.pack(">BHHB", 8, HEIGHT, WIDTH, 3)
    components = b"".join(bytes([name, 0x11, 0]) for name in (1, 2, 3))
    head = b"\xff\xc0\x00\x11" + size + components
    length = int.from_bytes(gray[frame + 2 : frame + 4])
    scans = [
        gray[scan : scan + 5] + bytes([name]) + gray[scan + 6 : -2]
        for name in (1, 2, 3)
    ]
    rest = gray[frame + 2 + length : scan]
    return gray[:frame] + head + rest + b"".join(scans) + scans[2] * number + gray[-2:]


def without_adobe(content):
    at = content.index(b"\xff\xee\x00\x0eAdobe")
    return content[:at] + content[at + 16 :]


_JFIF_END = 20
_CMYK = jpeg(PICTURE.convert("CMYK"))
_YCCK = _CMYK.replace(adobe(0), adobe(2))
YCCK_SHOWN = Image.open(io.BytesIO(_YCCK)).convert("RGB")

JPEG_READ = {
    "color": jpeg(),
    **{f"subsampling {number}": jpeg(subsampling=number) for number in (0, 1, 2)},
    "gray": jpeg(PICTURE.convert("L")),
    "progressive": jpeg(progressive=True),
    "restart marks": jpeg(restart_marker_blocks=2),
    "RGB": jpeg(keep_rgb=True),
    "RGB by Adobe's mark": jpeg()[:2] + adobe(0) + jpeg()[_JFIF_END:],
    "YCbCr by Adobe's mark": jpeg()[:2] + adobe(1) + jpeg()[_JFIF_END:],
    "CMYK": _CMYK,
    "YCCK": _YCCK,
    "extended": with_frame_header(0xC1),
    "a scan for each color": separate_scans(0),
    "several images": save("MPO", save_all=True, append_images=[INVERTED], quality=95),
    "another image behind it": jpeg() + jpeg(INVERTED),
    "color profile": jpeg(icc_profile=b"profile" * 999),
    "marks in a comment": jpeg(progressive=True, comment=b"\xff\xda\xff\xd9" * 999),
    "progressive, others behind it": jpeg(progressive=True) * 20,
}
JPEG_REFUSED = {
    "CMYK without Adobe's mark": (without_adobe(_CMYK), ("CMYK", "Adobe")),
    **{
        f"CMYK, {size} bytes of Adobe's mark": (
            _CMYK.replace(
                adobe(0), adobe(0)[:3] + bytes([2 + size]) + adobe(0)[4:][:size]
            ),
            ("CMYK", "Adobe"),
        )
        for size in (7, 11)
    },
    "lossless": (with_frame_header(0xC3), ("lossless", "SOF3")),
    "hierarchical": (with_frame_header(0xC5), ("hierarchical", "SOF5")),
    "lossless, arithmetic coding": (with_frame_header(0xCB), ("lossless", "SOF11")),
    "mark without a segment": (jpeg()[:20] + b"\xff\x01" + jpeg()[20:], ("JPEG",)),
    "12 bits": (
        jpeg().replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c"),
        ("JPEG", "12-bit"),
    ),
}

# WebP


def animated(still):
    """Returns a WebP animation of one image, by a still one."""

    def three(number):
        return struct.pack("<I", number)[:3]

    sides = three(WIDTH - 1) + three(HEIGHT - 1)
    frame = bytes(6) + sides + three(100) + b"\0" + still[12:]
    parts = {
        b"VP8X": b"\x02\0\0\0" + sides,
        b"ANIM": b"\xff\xff\xff\xff\0\0",
        b"ANMF": frame,
    }
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(content)) + content
        for kind, content in parts.items()
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


_TRANSLUCENT = Image.fromarray(RGBA)

WEBP_READ = {
    f"{name}{more}": save("WEBP", lossless=lossless, **options)
    for name, lossless in {"lossy": False, "lossless": True}.items()
    for more, options in {
        "": {},
        ", metadata": {"exif": b"Exif\0\0" + bytes(9)},
        ", color profile": {"icc_profile": b"profile" * 99},
    }.items()
}
WEBP_REFUSED = {
    "alpha, lossy": (save("WEBP", _TRANSLUCENT), ("WebP", "alpha")),
    "alpha, lossless": (
        save("WEBP", _TRANSLUCENT, lossless=True, exact=True),
        ("WebP", "alpha"),
    ),
    "animation": (
        save("WEBP", save_all=True, append_images=[INVERTED]),
        ("WebP Animation",),
    ),
    "animation with alpha": (
        save("WEBP", _TRANSLUCENT, save_all=True, append_images=[INVERTED]),
        ("WebP Animation",),
    ),
    "animation of one image": (
        animated(save("WEBP", lossless=True)),
        ("WebP Animation",),
    ),
}

#: Encoded images that are read as Pillow reads them.
READ = {
    f"{kind}: {name}": content
    for kind, of_kind in {
        "BMP": BMP_READ,
        "PNG": PNG_READ,
        "GIF": GIF_READ,
        "JPEG": JPEG_READ,
        "WebP": WEBP_READ,
    }.items()
    for name, content in of_kind.items()
}
#: Encoded images, and what the reason must name.
REFUSED = {
    f"{kind}: {name}": found
    for kind, of_kind in {
        "BMP": BMP_REFUSED,
        "GIF": GIF_REFUSED,
        "JPEG": JPEG_REFUSED,
        "WebP": WEBP_REFUSED,
    }.items()
    for name, found in of_kind.items()
}
