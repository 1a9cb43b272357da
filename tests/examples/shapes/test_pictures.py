import dataclasses

import numpy as np
import pytest

from examples.shapes import outlines, pictures

PLAIN = dataclasses.replace(
    pictures.DIFFICULTY,
    marks=(0, 0),
    covers=0,
    noise=0.0,
    filled=1.0,
    any_hue=0.0,
    hue_spread=0.0,
    sizes=(0.8, 0.8),
)


def draw(name, seed=0, how=PLAIN, hue=0.33):
    rng = np.random.default_rng(seed)
    picture = pictures.draw(outlines.OUTLINES[name], hue, rng, how)
    assert picture.size == (pictures.SIZE, pictures.SIZE)
    return np.asarray(picture, float)


@pytest.mark.parametrize("name", outlines.OUTLINES)
def test_a_plain_object_is_its_hue_in_front_of_a_dark_background(name):
    pixels = draw(name)
    is_object = pixels[..., 1] > 180  # Green.
    assert 0.05 < is_object.mean() < 0.6
    assert np.median(pixels[~is_object]) < 130


def test_classes_draws_and_difficulties_differ():
    assert not np.array_equal(draw("star"), draw("heart"))
    assert not np.array_equal(draw("star"), draw("star", seed=1))
    assert not np.array_equal(draw("star"), draw("star", how=pictures.DIFFICULTY))
    np.testing.assert_array_equal(draw("star"), draw("star"))
