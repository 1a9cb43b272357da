import io

import numpy as np
from PIL import Image

from benchmarks.duplicates.alterations import ALTERATIONS, draw_pictures


def read(content):
    return np.asarray(Image.open(io.BytesIO(content)), float)


def test_pictures_differ_and_are_the_same_each_time():
    pictures = list(draw_pictures())
    assert len(set(pictures)) == len(pictures) == 90
    assert pictures == list(draw_pictures())


def test_copies_are_what_they_are_called():
    picture = Image.fromarray(
        np.linspace(0, 255, 160 * 160 * 3).reshape(160, 160, 3).astype(np.uint8)
    )
    pixels = np.asarray(picture, float)
    copies = {name: read(alter(picture)) for name, alter in ALTERATIONS.items()}
    expected = {
        "JPEG of quality 50": pixels,
        "half the size and JPEG 75": pixels.reshape(80, 2, 80, 2, 3).mean(axis=(1, 3)),
        "two thirds of the light": pixels * 2 / 3,
        "10 % cropped from each side": pixels[16:-16, 16:-16],
        "mirrored": pixels[:, ::-1],
    }
    for name, content in expected.items():
        assert np.abs(copies[name] - content).mean() < 3, name
