import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from classifier import preprocess
from classifier.config import ImageConfig
from tests.images import encode, random_pixels

WHOLE = ImageConfig(size=32, crop_fraction=1.0, min_crop_area=1.0, random_flip=False)
CROPPING = ImageConfig(size=32)


@pytest.fixture
def pixels():
    return random_pixels(np.random.default_rng(0), height=50, width=40)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "JPEG"])
def test_decodes_what_pillow_decodes(pixels, kind):
    encoded = encode(pixels, kind)
    expected = np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"), np.int32)
    decoded = preprocess.decode(encoded).numpy().astype(np.int32)
    # Two JPEG decoders differ in the last bits of their inverse transform.
    assert np.abs(decoded - expected).max() <= (4 if kind == "JPEG" else 0)


def test_evaluation_resizes_the_center_crop(pixels):
    # 0.875 of the shorter side 40 is 35; (50-35+1)//2 = 8 and (40-35+1)//2 = 3.
    crop = pixels[8 : 8 + 35, 3 : 3 + 35]
    expected = tf.image.resize(crop, (32, 32), method="bicubic").numpy()
    expected = np.round(np.clip(expected, 0, 255)).astype(np.uint8)
    result = preprocess.evaluation_image(encode(pixels), CROPPING).numpy()
    np.testing.assert_array_equal(result, expected)


def test_crop_fraction_of_one_keeps_the_whole_image(pixels):
    result = preprocess.evaluation_image(encode(pixels), WHOLE).numpy()
    expected = np.asarray(Image.fromarray(pixels).resize((32, 32), Image.BICUBIC))
    # Pillow widens the filter when it shrinks, TensorFlow does not.
    difference = np.abs(result.astype(int) - expected.astype(int))
    assert difference.mean() < 2


def test_bicubic_overshoot_is_clipped_not_wrapped():
    edge = np.zeros((8, 8, 3), np.uint8)
    edge[:, 4:] = 255
    result = preprocess.evaluation_image(encode(edge), WHOLE).numpy()
    assert np.all(np.diff(result[0, :, 0].astype(int)) >= 0)


@pytest.mark.parametrize("config", [WHOLE, CROPPING])
def test_training_image_depends_on_the_seed_alone(pixels, config):
    encoded = encode(pixels)
    eager = preprocess.training_image(encoded, config, seed=tf.constant([1, 2]))
    dataset = tf.data.Dataset.from_tensors(encoded).map(
        lambda one: preprocess.training_image(one, config, seed=tf.constant([1, 2]))
    )
    np.testing.assert_array_equal(eager, next(iter(dataset)))
    assert eager.dtype == tf.uint8
    assert eager.shape == (32, 32, 3)


def test_training_crops_differ_between_seeds_and_mirror_half(pixels):
    encoded = encode(pixels)
    crops = {
        preprocess.training_image(encoded, CROPPING, seed=tf.constant([0, i]))
        .numpy()
        .tobytes()
        for i in range(20)
    }
    assert len(crops) == 20
    mirroring = ImageConfig(size=32, min_crop_area=1.0)
    plain = preprocess.training_image(encoded, WHOLE, seed=tf.constant([0, 0])).numpy()
    mirrored = [
        np.array_equal(
            preprocess.training_image(encoded, mirroring, seed=tf.constant([0, i])),
            plain[:, ::-1],
        )
        for i in range(100)
    ]
    assert 30 <= sum(mirrored) <= 70


@pytest.mark.parametrize(
    "content", [b"", b"no image", encode(np.zeros((9, 9, 3), np.uint8))[:40]]
)
def test_what_is_no_image_raises(content):
    with pytest.raises(tf.errors.InvalidArgumentError):
        preprocess.evaluation_image(content, WHOLE)
