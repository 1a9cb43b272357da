import io
import unittest.mock

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from benchmarks.measuring.photographs import make_photographs
from tests.faults.images import BROKEN, ODD
from tests.images import encode
from workflow.samples import thumbnails


def decoded(encoded, size=96):
    thumbnail = thumbnails.make_thumbnail(encoded, size)
    assert thumbnail.error == ""
    image = Image.open(io.BytesIO(thumbnail.encoded))
    assert image.format in ("JPEG", "PNG")
    return np.asarray(image.convert("RGB")).astype(int)


def test_exif_is_not_read():
    exif = Image.Exif()
    exif[0x010E] = "a description"
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", exif=exif)
    with unittest.mock.patch.object(Image.Exif, "load") as load:
        Image.open(io.BytesIO(file.getvalue()))
        assert load.called
        load.reset_mock()
        assert decoded(file.getvalue()).shape == (96, 96, 3)
        assert not load.called


#: Behind transparency, TensorFlow shows what is there; one is too wide to be enlarged.
OPAQUE = [name for name in ODD if "alpha" not in name and "thousand" not in name]


@pytest.mark.parametrize("name", OPAQUE)
def test_thumbnails_are_what_evaluation_sees(name):
    encoded, _ = ODD[name]
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False).numpy()
    factor = 96 // max(image.shape[:2])
    enlarged = image.repeat(factor, axis=0).repeat(factor, axis=1)
    shown = decoded(encoded)
    assert shown.shape == enlarged.shape
    # What JPEG loses at the edges of squares.
    assert np.abs(shown - enlarged).mean() < 6


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_large_images_are_averaged(kind):
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (48, 24, 1), np.uint8).repeat(3, axis=2)
    pixels = blocks.repeat(20, axis=0).repeat(20, axis=1)
    expected = blocks.repeat(2, axis=0).repeat(2, axis=1)
    assert np.abs(decoded(encode(pixels, kind)) - expected).mean() < 16


#: What TensorFlow does not decode, or reads otherwise, and Pillow shows.
SHOWN = [
    *("animated WebP", "animated WebP with a single frame", "WebP with alpha"),
    *(name for name in BROKEN if "BMP" in name and name != "truncated BMP"),
    *("GIF whose first frame does not fill the canvas", "GIF with transparent pixels"),
    *("GIF with a frame larger than the first", "CMYK JPEG without an Adobe marker"),
    "GIF with two graphic control extensions before its first frame",
]


@pytest.mark.parametrize("name", BROKEN)
def test_broken_images_have_an_error(name, monkeypatch):
    monkeypatch.setattr(thumbnails, "MAX_PIXELS", 100_000)
    thumbnail = thumbnails.make_thumbnail(BROKEN[name], 96)
    assert (thumbnail.encoded is None) == (name not in SHOWN)
    assert bool(thumbnail.error) == (thumbnail.encoded is None)
    assert "\n" not in thumbnail.error


@pytest.mark.parametrize("side", [1, 8, 31, 48, 49, 96])
def test_small_images_are_enlarged_to_squares(side):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 2, (side, side, 1), np.uint8).repeat(3, axis=2) * 255
    factor = 96 // side
    expected = pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    assert (decoded(encode(pixels)) == expected).all()


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [
        ((300, 200), 96, (96, 64)),
        ((97, 97), 96, (96, 96)),
        ((2, 1000), 96, (1, 96)),
        ((10, 100), 7, (1, 7)),
        ((60, 24), 128, (120, 48)),
    ],
)
def test_the_longer_side_decides(shape, size, expected):
    pixels = np.zeros((*shape, 3), np.uint8)
    assert decoded(encode(pixels), size).shape == (*expected, 3)


def test_transparent_pixels_are_gray():
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[:, 20:] = (255, 0, 0, 255)
    shown = decoded(encode(pixels), 40)
    assert (shown[:, :20] == 128).all()
    assert (shown[:, 20:] == (255, 0, 0)).all()


def test_sheets_of_photographs_are_small():
    """A page has eight sheets of 24 tiles, two of them with matches."""
    rng = np.random.default_rng(0)
    for side in (200, 96, 48, 32):
        photographs = make_photographs(rng, 6, height=side, width=side)
        made = [thumbnails.make_thumbnail(encode(image), 96) for image in photographs]
        assert (
            10 * 24 * np.mean([len(thumbnail.encoded) for thumbnail in made])
            < 1_200_000
        )
