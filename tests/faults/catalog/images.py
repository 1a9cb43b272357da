"""Faults: images."""

from tests.faults.endings import LABELED, Fault

TITLE = "Images"
FAULTS = (
    Fault("image of zero bytes", "empty", "no bytes"),
    Fault("text named as an image", "undecodable", "no header of a supported format"),
    Fault(
        "error page of a web server", "undecodable", "no header of a supported format"
    ),
    Fault("truncated JPEG", "undecodable", mentions=("Invalid JPEG data",)),
    Fault("JPEG without its end mark", "undecodable", mentions=("Invalid JPEG data",)),
    Fault("JPEG of two bytes", "undecodable", "no header of a supported format"),
    Fault("truncated PNG", "undecodable", mentions=("Invalid PNG data",)),
    Fault("PNG with a wrong checksum", "undecodable", mentions=("Invalid PNG data",)),
    Fault("PNG of zero width", "undecodable", "no header of a supported format"),
    Fault("truncated GIF", "undecodable", mentions=("Invalid GIF data",)),
    Fault("truncated BMP", "undecodable", mentions=("Input size should match",)),
    Fault("truncated WebP", "undecodable", "no header of a supported format"),
    Fault("animated WebP", "undecodable", mentions=("WebP Animation",)),
    Fault("TIFF", "undecodable", "no header of a supported format"),
    Fault("AVIF", "undecodable", "no header of a supported format"),
    Fault("HEIC", "undecodable", "no header of a supported format"),
    Fault("JPEG 2000", "undecodable", "no header of a supported format"),
    Fault("JPEG XL", "undecodable", "no header of a supported format"),
    Fault("SVG", "undecodable", "no header of a supported format"),
    Fault("image with more pixels than the limit", "too_large"),
    Fault(
        "PNG header that claims billions of pixels",
        "too_large",
        "refused before decoding",
    ),
    Fault(
        "JPEG header that claims billions of pixels",
        "too_large",
        "refused before decoding",
    ),
    Fault("GIF of many frames", "too_large", "the decoder unpacks them all"),
    Fault(
        "GIF with a huge frame behind a small one", "too_large", "as for many frames"
    ),
    Fault(
        "PNG above the limit behind a broken text",
        "undecodable",
        "its size cannot be read; no header of a supported format",
    ),
    Fault("progressive JPEG", LABELED),
    Fault("grayscale JPEG", LABELED, "three equal channels"),
    Fault("CMYK JPEG", LABELED, "in RGB"),
    Fault("JPEG with bytes behind its end", LABELED),
    Fault("JPEG named as PNG", LABELED, "names do not count"),
    Fault(
        "EXIF rotation",
        LABELED,
        "as it is stored, not turned: so it is trained on, too",
    ),
    Fault("PNG of 16 bits", LABELED, "by the upper eight"),
    Fault("gray PNG of 16 bits", LABELED, "by the upper eight"),
    Fault("PNG of black and white", LABELED),
    Fault("PNG with a palette", LABELED),
    Fault("PNG with a palette and alpha", LABELED, "without the alpha"),
    Fault("PNG with alpha", LABELED, "without the alpha"),
    Fault("BMP", LABELED),
    Fault("animated GIF", LABELED, "its first frame"),
    Fault("WebP", LABELED),
    Fault("image of one pixel", LABELED),
    Fault("image a thousand times as wide as high", LABELED, "its center"),
)
