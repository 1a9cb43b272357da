"""Damaged images, through the check of their header and decoding."""

from __future__ import annotations

import functools
import io
import pathlib
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from PIL import Image

from classifier.data import preprocessing
from classifier.data.config import ImageConfig
from classifier.data.examples import UNLABELED, Example
from classifier.export import saved_model
from classifier.inference.ensemble import decode_rows
from stage.status import OK
from tests.fuzz import mutations
from tests.fuzz.harness import Target
from tests.images import random_pixels

#: Location of the exported preprocessing.
EXPORT = "teacher/export"
_SIZE = 32
_CONFIG = ImageConfig(size=_SIZE, crop_fraction=1.0)
#: Largest mean difference to Pillow's pixels; JPEG and lossy WebP are not exact.
_TOLERANCE = 4.0


def targets(root: pathlib.Path) -> list[Target]:
    """Returns a target for each format; pictures have the size that is wanted."""
    picture = Image.fromarray(random_pixels(np.random.default_rng(0), _SIZE, _SIZE))
    alpha = picture.convert("RGBA")
    alpha.putalpha(picture.convert("L"))
    palette, gray = picture.quantize(16), picture.convert("L")
    seeds = {
        "jpeg": [
            _encode(picture, "JPEG"),
            _encode(picture, "JPEG", progressive=True, subsampling=0),
            _encode(gray, "JPEG"),
            _encode(picture.convert("CMYK"), "JPEG"),
        ],
        "png": [
            _encode(picture, "PNG"),
            _encode(palette, "PNG", transparency=3),
            _encode(alpha, "PNG"),
            _encode(gray.convert("I;16"), "PNG"),
            _encode(gray.convert("1"), "PNG"),
        ],
        "gif": [
            _encode(palette, "GIF"),
            _encode(palette, "GIF", save_all=True, append_images=[palette, gray]),
        ],
        "bmp": [_encode(image, "BMP") for image in (picture, palette, gray, alpha)],
        "webp": [
            _encode(picture, "WEBP"),
            _encode(picture, "WEBP", lossless=True),
            _encode(alpha, "WEBP", lossless=True),
            _encode(picture, "WEBP", save_all=True, append_images=[alpha]),
        ],
    }
    path = root / EXPORT
    return [_target(name, encoded, path) for name, encoded in seeds.items()]


def prepare(root: pathlib.Path) -> None:
    """Exports preprocessing, and a network of two classes, as classifiers have them."""
    encoded = tf.TensorSpec([None], tf.string, name="encoded")
    pixels = tf.TensorSpec([None, _SIZE, _SIZE, 3], tf.uint8, name="pixels")

    @tf.function(input_signature=[encoded])
    def preprocess(encoded: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"pixels": preprocessing.evaluation_images(encoded, _CONFIG)}

    @tf.function(input_signature=[pixels])
    def network(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        colors = tf.reduce_mean(tf.cast(pixels, tf.float32), axis=[1, 2])
        return {"logits": tf.matmul(colors, tf.constant([[1.0, 0.0]] * 3))}

    signatures = {"preprocess": preprocess, "pixels": network}
    tf.saved_model.save(tf.Module(), str(root / EXPORT), signatures=signatures)


@functools.cache
def _load(path: pathlib.Path) -> Callable[[Sequence[bytes]], np.ndarray]:
    preprocess = saved_model.load_preprocess(path)
    return lambda encoded: preprocess(tf.constant(list(encoded), tf.string)).numpy()


def _encode(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def _target(name: str, seeds: Sequence[bytes], export: pathlib.Path) -> Target:
    neighbor = Example(b"neighbor", seeds[0], UNLABELED)

    def check(content: bytes) -> None:
        batch = [neighbor, Example(b"damaged", content, UNLABELED), neighbor]
        rows = decode_rows(batch, _load(export), size=_SIZE, max_pixels=10**6)
        status, error, pixels = rows.status[1], rows.error[1], rows.pixels[1]
        assert [rows.status[0], rows.status[2]] == [OK, OK], "a neighbor is lost"
        assert (rows.pixels[0] == rows.pixels[2]).all(), "a neighbor is another image"
        assert (status == OK) == (not error), (status, error)
        is_line = len(error.splitlines()) <= 1 and len(error) < 2_000
        assert is_line, f"a reason of several lines: {error!r}"
        assert status == OK or not pixels.any(), "pixels without a prediction"
        if status == OK and (name != "jpeg" or content in seeds):
            _check_pixels(content, pixels)

    return Target(name, lambda: seeds, mutations.change_bytes, check)


def _check_pixels(content: bytes, pixels: np.ndarray) -> None:
    """Pixels are those of Pillow, if it reads the image without complaint.

    Of 16 bits Pillow shows the lowest. Decoders guess differently at the rest of a
    damaged JPEG, which has no checksum.
    """
    try:
        with warnings.catch_warnings(action="error"):
            picture = Image.open(io.BytesIO(content))
            expected = np.asarray(picture.convert("RGB"), int)
    except Exception:  # Pillow reads less than others of what is damaged.
        return
    if expected.shape == pixels.shape and not picture.mode.startswith("I"):
        difference = np.abs(pixels - expected).mean()
        assert difference < _TOLERANCE, f"{difference:.0f} gray levels from Pillow"
