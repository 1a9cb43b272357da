import dataclasses
import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from classifier.data import preprocessing
from classifier.data.config import ImageConfig
from tests.images import encode, random_pixels

WHOLE = ImageConfig(size=32, crop_fraction=1.0, min_crop_area=1.0, random_flip=False)
CROPPING = ImageConfig(size=32)


@pytest.fixture
def pixels():
    return random_pixels(np.random.default_rng(0), height=50, width=40)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "JPEG", "WEBP"])
def test_decodes_what_pillow_decodes(pixels, kind):
    encoded = encode(pixels, kind)
    expected = np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"), np.int32)
    decoded = preprocessing.decode(encoded).numpy().astype(np.int32)
    # Two JPEG decoders differ in the last bits of their inverse transform.
    assert np.abs(decoded - expected).max() <= (4 if kind == "JPEG" else 0)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("L", "JPEG"), ("CMYK", "JPEG"), ("L", "PNG"), ("P", "PNG"), ("RGBA", "WEBP")],
)
def test_other_colors_become_rgb(pixels, mode, kind):
    content = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(content, format=kind)
    image = Image.open(content).convert("RGB")
    decoded = preprocessing.decode(content.getvalue()).numpy()
    assert decoded.shape == pixels.shape
    difference = np.abs(decoded.astype(int) - np.asarray(image).astype(int))
    assert difference.mean() < 2  # Each has its own conversion from CMYK.


def test_of_an_animation_the_first_image_counts(pixels):
    content = io.BytesIO()
    frames = [Image.fromarray(pixels), Image.fromarray(255 - pixels)]
    frames[0].save(content, "GIF", save_all=True, append_images=frames[1:])
    first = Image.open(io.BytesIO(content.getvalue())).convert("RGB")
    np.testing.assert_array_equal(preprocessing.decode(content.getvalue()), first)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_decoding_a_window_equals_decoding_all_and_cropping(kind):
    rng = np.random.default_rng(0)
    encoded = encode(random_pixels(rng, height=120, width=161), kind)
    whole = preprocessing.decode(encoded).numpy().astype(int)
    for _ in range(50):
        top, left = rng.integers(0, 100), rng.integers(0, 140)
        height, width = rng.integers(3, 121 - top), rng.integers(3, 162 - left)
        window = tf.constant([top, left, height, width], tf.int32)
        part = preprocessing.decode_and_crop(encoded, lambda _, window=window: window)
        expected = whole[top : top + height, left : left + width]
        difference = np.abs(part.numpy().astype(int) - expected)
        # A JPEG's colors are interpolated from inside the window alone.
        assert difference[:, 1:-1].max() == 0
        assert difference.max() <= (32 if kind == "JPEG" else 0)


def test_training_decodes_no_more_of_a_jpeg_than_its_window():
    """A file whose lower part is lost still gives the windows above it."""
    encoded = encode(random_pixels(np.random.default_rng(0), 400, 400), "JPEG")
    broken = encoded[: len(encoded) * 3 // 4]
    with pytest.raises(tf.errors.InvalidArgumentError):
        preprocessing.decode(broken)
    window = tf.constant([0, 0, 64, 64])
    top = preprocessing.decode_and_crop(broken, lambda _: window)
    np.testing.assert_array_equal(
        top, preprocessing.decode_and_crop(encoded, lambda _: window)
    )


def test_a_label_vouches_for_the_whole_image():
    """What lies outside the center crop must be sound too: students train on it."""
    encoded = encode(random_pixels(np.random.default_rng(0), 400, 400), "JPEG")
    with pytest.raises(tf.errors.InvalidArgumentError):
        preprocessing.evaluation_image(encoded[:-200], CROPPING)


@pytest.mark.parametrize(
    ("size", "padding"), [(160, 23), (192, 27), (224, 32), (256, 37), (320, 46)]
)
def test_the_center_crop_is_the_published_one(size, padding):
    """There it is stated as a padding around the network's input."""
    config = ImageConfig(size=size)
    for height, width in [(375, 500), (500, 333), (224, 224), (1024, 768)]:
        side = int(size / (size + padding) * min(height, width))
        top, left, *sides = preprocessing.center_window(
            tf.constant([height, width, 3]), config
        ).numpy()
        # The padding is rounded, the fraction 0.875 is not.
        assert abs(sides[0] - side) <= 0.002 * min(height, width) + 1
        assert sides[0] == sides[1] == int(0.875 * min(height, width))
        assert (top, left) == (
            (height - sides[0] + 1) // 2,
            (width - sides[0] + 1) // 2,
        )


def test_training_windows_have_the_published_areas_and_aspect_ratios():
    shape = tf.constant([300, 400, 3])
    windows = np.array(
        [
            preprocessing.inception_window(
                shape, ImageConfig(), seed=tf.constant([0, i])
            )
            for i in range(400)
        ]
    )
    top, left, height, width = windows.T
    assert np.all((top >= 0) & (left >= 0))
    assert np.all((top + height <= 300) & (left + width <= 400))
    # At least an area of 0.1: the object, which is all of the image, is to be
    # covered so far. A pixel of rounding on either side.
    area = height * width / (300 * 400)
    assert 0.095 < area.min() < 0.15
    assert 0.8 < area.max() <= 1.0
    ratio = width / height
    assert np.all((ratio >= 0.74) & (ratio <= 1.35))


def test_where_no_window_fits_the_center_is_taken():
    """No aspect ratio of 3:4 to 4:3 with half the area fits into a strip."""
    shape = tf.constant([10, 300, 3])
    config = ImageConfig(min_crop_area=0.5)
    window = preprocessing.inception_window(shape, config, seed=tf.constant([0, 1]))
    np.testing.assert_array_equal(window, preprocessing.center_window(shape, config))


def test_evaluation_resizes_the_center_crop(pixels):
    # 0.875 of the shorter side 40 is 35; (50-35+1)//2 = 8 and (40-35+1)//2 = 3.
    crop = pixels[8 : 8 + 35, 3 : 3 + 35]
    expected = tf.image.resize(crop, (32, 32), method="bicubic").numpy()
    expected = np.round(np.clip(expected, 0, 255)).astype(np.uint8)
    result = preprocessing.evaluation_image(encode(pixels), CROPPING).numpy()
    np.testing.assert_array_equal(result, expected)


def test_crop_fraction_of_one_keeps_the_whole_image(pixels):
    result = preprocessing.evaluation_image(encode(pixels), WHOLE).numpy()
    expected = np.asarray(Image.fromarray(pixels).resize((32, 32), Image.BICUBIC))
    # Pillow widens the filter when it shrinks, TensorFlow does not.
    difference = np.abs(result.astype(int) - expected.astype(int))
    assert difference.mean() < 2


@pytest.mark.parametrize("size", [32, 45, 100])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_antialiasing_resizes_as_pillow_does(pixels, interpolation, size):
    config = dataclasses.replace(
        WHOLE, size=size, interpolation=interpolation, antialias=True
    )
    result = preprocessing.evaluation_image(encode(pixels), config).numpy()
    how = Image.Resampling[interpolation.upper()]
    expected = np.asarray(Image.fromarray(pixels).resize((size, size), how))
    # Pillow rounds between the two directions.
    assert np.abs(result.astype(int) - expected).max() <= 2


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_enlarging_without_antialiasing_is_pillows_too(pixels, interpolation):
    config = dataclasses.replace(WHOLE, size=100, interpolation=interpolation)
    evaluated = preprocessing.evaluation_image(encode(pixels), config).numpy()
    how = Image.Resampling[interpolation.upper()]
    expected = np.asarray(Image.fromarray(pixels).resize((100, 100), how))
    assert np.abs(evaluated.astype(int) - expected).max() <= 2
    seed = tf.constant([0, 0])
    trained = preprocessing.training_image(encode(pixels), config, seed=seed)
    np.testing.assert_array_equal(trained, evaluated)


def test_bicubic_overshoot_is_clipped_not_wrapped():
    edge = np.zeros((8, 8, 3), np.uint8)
    edge[:, 4:] = 255
    result = preprocessing.evaluation_image(encode(edge), WHOLE).numpy()
    assert np.all(np.diff(result[0, :, 0].astype(int)) >= 0)


@pytest.mark.parametrize("config", [WHOLE, CROPPING])
def test_training_image_depends_on_the_seed_alone(pixels, config):
    encoded = encode(pixels)
    seed = tf.constant([1, 2])
    eager = preprocessing.training_image(encoded, config, seed=seed)
    dataset = tf.data.Dataset.from_tensors(encoded).map(
        lambda image: preprocessing.training_image(image, config, seed=seed)
    )
    np.testing.assert_array_equal(eager, next(iter(dataset)))
    assert eager.dtype == tf.uint8
    assert eager.shape == (32, 32, 3)


def test_training_crops_differ_between_seeds_and_mirror_half(pixels):
    encoded = encode(pixels)
    crops = {
        preprocessing.training_image(encoded, CROPPING, seed=tf.constant([0, i]))
        .numpy()
        .tobytes()
        for i in range(20)
    }
    assert len(crops) == 20
    mirroring = ImageConfig(size=32, min_crop_area=1.0)
    plain = preprocessing.training_image(
        encoded, WHOLE, seed=tf.constant([0, 0])
    ).numpy()
    mirrored = [
        np.array_equal(
            preprocessing.training_image(encoded, mirroring, seed=tf.constant([0, i])),
            plain[:, ::-1],
        )
        for i in range(100)
    ]
    assert 30 <= sum(mirrored) <= 70


@pytest.mark.parametrize(
    "content", [b"", b"no image", encode(np.zeros((9, 9, 3), np.uint8))[:40]]
)
def test_other_bytes_than_an_image_raise(content):
    with pytest.raises(tf.errors.InvalidArgumentError):
        preprocessing.evaluation_image(content, WHOLE)
