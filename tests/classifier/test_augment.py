import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance

from classifier import augment
from classifier.config import OPERATIONS, AugmentConfig
from tests.images import random_pixels

SIZE = 32
GRAY = (128, 128, 128)


@pytest.fixture
def pixels():
    return random_pixels(np.random.default_rng(1), SIZE, SIZE)


def apply(name, pixels, *, magnitude, sign=1.0, translate_pixels=10.0):
    config = AugmentConfig(
        operations=(name,), magnitude=magnitude, translate_pixels=translate_pixels
    )
    return augment.apply(tf.constant(pixels), 0, tf.constant(sign), config).numpy()


def affine(pixels, coefficients):
    """Pillow's affine transform; it counts from pixel corners, TensorFlow centers."""
    a, b, c, d, e, f = coefficients
    shifted = (a, b, c - (a + b) / 2 + 0.5, d, e, f - (d + e) / 2 + 0.5)
    image = Image.fromarray(pixels)
    return np.asarray(
        image.transform(
            image.size, Image.AFFINE, shifted, Image.BILINEAR, fillcolor=GRAY
        )
    )


def assert_close_inside(result, expected):
    """At the border the two libraries blend with the fill differently."""
    inside = np.zeros(result.shape[:2], bool)
    inside[4:-4, 4:-4] = True
    is_fill = np.all(expected == 128, axis=-1)
    near_fill = is_fill.copy()
    for axis in (0, 1):
        for shift in (-1, 1):
            near_fill |= np.roll(is_fill, shift, axis)
    difference = np.abs(result.astype(int) - expected.astype(int)).max(-1)
    assert difference[inside & ~near_fill].max() <= 1


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_translation_moves_by_whole_pixels_and_fills_with_gray(pixels, sign):
    result = apply("TranslateX", pixels, magnitude=5, sign=sign)
    expected = np.full_like(pixels, 128)
    if sign > 0:
        expected[:, :-5] = pixels[:, 5:]
    else:
        expected[:, 5:] = pixels[:, :-5]
    np.testing.assert_array_equal(result, expected)
    turned = apply("TranslateY", pixels.transpose(1, 0, 2), magnitude=5, sign=sign)
    np.testing.assert_array_equal(turned.transpose(1, 0, 2), expected)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_shear_equals_pillow(pixels, sign):
    level = sign * 0.15
    sheared = apply("ShearX", pixels, magnitude=5, sign=sign)
    assert_close_inside(sheared, affine(pixels, (1, level, 0, 0, 1, 0)))
    sheared = apply("ShearY", pixels, magnitude=5, sign=sign)
    assert_close_inside(sheared, affine(pixels, (1, 0, 0, level, 1, 0)))


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_rotation_equals_pillow(pixels, sign):
    result = apply("Rotate", pixels, magnitude=10, sign=sign)
    expected = Image.fromarray(pixels).rotate(30 * sign, Image.BILINEAR, fillcolor=GRAY)
    assert_close_inside(result, np.asarray(expected))


@pytest.mark.parametrize("name", ["Brightness", "Color", "Contrast"])
@pytest.mark.parametrize("magnitude", [2, 10])
def test_blends_equal_pillow(pixels, name, magnitude):
    factor = 1.8 * magnitude / 10 + 0.1
    expected = getattr(ImageEnhance, name)(Image.fromarray(pixels)).enhance(factor)
    result = apply(name, pixels, magnitude=magnitude)
    difference = np.abs(result.astype(int) - np.asarray(expected).astype(int))
    # Pillow rounds the gray image down, we to the nearest, and a factor scales that.
    assert difference.max() <= 2


def test_geometric_operations_at_magnitude_zero_are_the_identity(pixels):
    for name in ("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY"):
        np.testing.assert_array_equal(apply(name, pixels, magnitude=0), pixels)


def test_no_operations_is_the_identity(pixels):
    image = tf.constant(pixels)
    config = AugmentConfig(num_ops=0)
    assert augment.augment(image, config, seed=tf.constant([0, 1])) is image


def test_the_same_seed_gives_the_same_pixels_eagerly_and_in_tf_data(pixels):
    config = AugmentConfig(num_ops=2, magnitude=7, translate_pixels=10)
    images = tf.data.Dataset.from_tensors(pixels).repeat(8).enumerate()
    mapped = images.map(
        lambda i, image: augment.augment(
            image, config, seed=tf.stack([3, tf.cast(i, tf.int32)])
        )
    )
    results = list(mapped.as_numpy_iterator())
    for i, result in enumerate(results):
        assert result.dtype == np.uint8
        assert result.shape == pixels.shape
        eager = augment.augment(tf.constant(pixels), config, seed=tf.constant([3, i]))
        np.testing.assert_array_equal(result, eager)
    assert len({result.tobytes() for result in results}) > 4


def test_operations_and_signs_are_drawn_uniformly():
    config = dataclasses.replace(AugmentConfig(), num_ops=8000)
    choices, signs = augment.draw(config, seed=tf.constant([0, 0]))
    counts = np.bincount(choices, minlength=len(OPERATIONS)) / 8000
    # Four standard deviations of a share of 1/8 in 8000 draws are 0.015.
    np.testing.assert_allclose(counts, 1 / len(OPERATIONS), atol=0.015)
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert abs(float(np.mean(signs))) < 0.045
